import pytest
import torch
from ase import Atoms
from ase.build import molecule

from matkit.data.ase import from_ase
from matkit.errors import StructureError
from matkit.neighbors import radius_graph
from matkit.structures import Structures, cat
from matkit.testing.systems import SYSTEMS, crystal, slab, water


def labelled(atoms) -> Structures:
    structures = from_ase(atoms)
    return structures.replace(
        atom={"forces": torch.randn(len(atoms), 3)}, system={"energy": torch.randn(1)}
    )


def test_split_undoes_cat():
    parts = [labelled(make()) for make in SYSTEMS.values()]
    back = cat(parts).split()
    for before, after in zip(parts, back, strict=True):
        assert torch.equal(before.positions, after.positions)
        assert torch.equal(before.atom["forces"], after.atom["forces"])
        assert torch.equal(before.system["energy"], after.system["energy"])
        assert torch.equal(before.n_atoms, after.n_atoms)


def test_index_takes_structures_in_the_order_asked():
    batch = cat([labelled(make()) for make in SYSTEMS.values()])
    parts = batch.split()
    chosen = batch.index([2, 0, 2])
    expected = cat([parts[2], parts[0], parts[2]])
    assert torch.equal(chosen.positions, expected.positions)
    assert torch.equal(chosen.batch, expected.batch)
    assert len(chosen) == 3


def test_graph_of_a_batch_indexes_like_graphs_of_its_parts():
    parts = [from_ase(make()) for make in (water, crystal, slab)]
    graph = radius_graph(cat(parts), 4.0)
    chosen = graph.index([2, 0])
    expected = radius_graph(cat([parts[2], parts[0]]), 4.0)
    assert torch.equal(chosen.center, expected.center)
    assert torch.equal(chosen.neighbor, expected.neighbor)
    assert torch.allclose(chosen.vectors, expected.vectors)


def test_offsets_and_batch_agree():
    batch = cat([from_ase(water()), from_ase(crystal())])
    assert batch.offsets.tolist() == [0, 3, 11]
    assert batch.batch.tolist() == [0] * 3 + [1] * 8


def test_volume():
    assert float(from_ase(crystal()).volume) == pytest.approx(crystal().get_volume())
    assert float(from_ase(water()).volume) == 0.0


def test_rows_must_fit_their_scope():
    structures = from_ase(water())
    with pytest.raises(StructureError, match=r"atom\['forces'\].*one row per atom, 3; got 2"):
        structures.replace(atom={"forces": torch.zeros(2, 3)})


def test_cat_refuses_nothing():
    with pytest.raises(StructureError, match="at least one structure"):
        cat([])


def test_cat_refuses_partly_labelled_batches():
    with pytest.raises(StructureError, match="item 1"):
        cat([labelled(water()), from_ase(water())])


def test_to_moves_every_tensor():
    moved = labelled(water()).to("meta")
    assert moved.positions.device.type == "meta"
    assert moved.atom["forces"].device.type == "meta"


def bonded(order=(1.0, 1.0)):
    """Water with its two bonds."""
    water = from_ase(molecule("H2O"))
    return water.replace(bonds=torch.tensor([[0, 1], [0, 2]]), bond={"order": torch.tensor(order)})


def test_bonds_follow_their_atoms():
    single = from_ase(molecule("H2")).replace(
        bonds=torch.tensor([[0, 1]]), bond={"order": torch.tensor([3.0])}
    )
    batch = cat([bonded(), single, bonded((2.0, 1.5))])
    assert batch.bonds.tolist() == [[0, 1], [0, 2], [3, 4], [5, 6], [5, 7]]
    chosen = batch.index([2, 1, 2])
    assert chosen.bonds.tolist() == [[0, 1], [0, 2], [3, 4], [5, 6], [5, 7]]
    assert chosen.bond["order"].tolist() == [2.0, 1.5, 3.0, 2.0, 1.5]
    assert [len(part.bonds) for part in batch.split()] == [2, 1, 2]
    assert torch.equal(cat(batch.split()).bonds, batch.bonds)


def test_a_structure_without_bonds_among_others():
    alone = from_ase(Atoms("He")).replace(
        bonds=torch.zeros(0, 2, dtype=torch.long), bond={"order": torch.zeros(0)}
    )
    batch = cat([alone, bonded(), alone])
    assert batch.bonds.tolist() == [[1, 2], [1, 3]]
    assert batch.index([2, 1]).bonds.tolist() == [[1, 2], [1, 3]]
    assert batch.index([0]).bonds.shape == (0, 2)


def test_bonds_known_of_some_structures_only():
    with pytest.raises(StructureError, match="`bonds`, or none of them; item 1 of 2 has none"):
        cat([bonded(), from_ase(molecule("H2O"))])
    with pytest.raises(StructureError, match=r"one row per bond, 0; got 2"):
        bonded().replace(bonds=None)


def test_a_graph_keeps_bonds_and_joins_with_others():
    graphs = [radius_graph(bonded(), 1.2), radius_graph(bonded((2.0, 2.0)), 1.2)]
    together, batch = cat(graphs), radius_graph(cat([bonded(), bonded((2.0, 2.0))]), 1.2)
    assert torch.equal(together.neighbor, batch.neighbor)
    assert torch.equal(together.vectors, batch.vectors)
    assert together.bonds.tolist() == batch.bonds.tolist() == [[0, 1], [0, 2], [3, 4], [3, 5]]


def test_what_follows_from_a_graphs_edges_is_remembered_while_they_stay():
    graph = radius_graph(from_ase(crystal()), 4.0)
    graph.tables["mark"], pointers = 1, graph.pointers
    moved = graph.replace(positions=graph.positions * 1.01, cell=graph.cell * 1.01)
    assert moved.tables is graph.tables
    assert moved.pointers is pointers
    assert torch.allclose(moved.vectors, graph.vectors * 1.01)
    for other in (graph.keep_edges(graph.center > 0), graph.replace(species=graph.species + 1)):
        assert "mark" not in other.tables
    assert "mark" not in graph.map(lambda tensor, _: tensor).tables
