import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from matkit.data.ase import from_ase
from matkit.doctor import nasty_cells
from matkit.errors import UnknownNameError
from matkit.neighbors import cell_list, radius_graph, search
from matkit.neighbors.verlet import VerletList
from matkit.structures import cat
from matkit.testing.systems import crystal, slab, water

CELLS = nasty_cells()
BACKENDS = ("vesin", "torch")


def edges(graph) -> set[tuple[int, ...]]:
    table = torch.cat([graph.center[:, None], graph.neighbor[:, None], graph.shift], 1)
    rows = {tuple(row) for row in table.tolist()}
    assert len(rows) == len(table), "an edge is listed twice"
    return rows


def sorted_rows(vectors) -> list[tuple[float, ...]]:
    # Adding zero turns -0.0 into 0.0.
    return sorted(tuple(row) for row in (np.round(vectors, 6) + 0.0).tolist())


def ase_edges(atoms: Atoms, cutoff: float) -> set[tuple[int, ...]]:
    i, j, shift = neighbor_list("ijS", atoms, cutoff)
    return {(int(a), int(b), *map(int, s)) for a, b, s in zip(i, j, shift, strict=True)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cutoff", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("name", CELLS)
def test_edges_are_ases(name, cutoff, backend):
    atoms = CELLS[name]
    graph = radius_graph(from_ase(atoms), cutoff, backend)
    assert edges(graph) == ase_edges(atoms, cutoff)
    assert sorted_rows(graph.vectors.numpy()) == sorted_rows(neighbor_list("D", atoms, cutoff))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_of_everything_is_its_parts(backend):
    parts = [from_ase(atoms) for atoms in CELLS.values()]
    together = radius_graph(cat(parts), 4.0, backend)
    for part, single in zip(parts, together.split(), strict=True):
        assert edges(single) == edges(radius_graph(part, 4.0, backend))
    assert torch.equal(together.batch[together.center], together.batch[together.neighbor])


@pytest.mark.parametrize("backend", BACKENDS)
def test_edges_are_sorted_with_pointers(backend):
    graph = radius_graph(from_ase([water(), crystal(), Atoms("H"), slab()]), 4.0, backend)
    assert (graph.center.diff() >= 0).all()
    for atom in range(len(graph.species)):
        part = graph.center[graph.pointers[atom] : graph.pointers[atom + 1]]
        assert (part == atom).all()
    assert int(graph.pointers[-1]) == len(graph.center)


def test_the_order_of_edges_is_the_same_from_every_backend():
    structures = from_ase(list(CELLS.values()))
    ours, reference = (radius_graph(structures, 4.0, backend) for backend in BACKENDS)
    for name in ("center", "neighbor", "shift"):
        assert torch.equal(getattr(ours, name), getattr(reference, name))


def test_the_order_made_on_a_gpu_is_that_of_the_cpu():
    graph = radius_graph(from_ase(list(CELLS.values())), 4.0)
    shuffled = torch.randperm(len(graph.center), generator=torch.Generator().manual_seed(0))
    keys = [part[shuffled] for part in (graph.center, graph.neighbor, graph.shift)]
    order = search._order_on_device(*keys)
    assert torch.equal(order, search._order_on_cpu(*keys))


@pytest.mark.parametrize("pbc", [True, False, (True, False, True)])
@pytest.mark.parametrize("size", [1, 3, 6])
def test_cell_lists_of_larger_structures_are_vesins(size, pbc):
    """Several bins along every vector, atoms outside of the cell, an irregular gas."""
    atoms = bulk("Cu", cubic=True).repeat(size)
    atoms.set_cell(atoms.cell.array @ [[1, 0.2, 0], [0, 1, 0.1], [0.1, 0, 0.9]], scale_atoms=True)
    atoms.rattle(0.8, seed=0)
    atoms.positions[::3] += 2 * atoms.cell[1] - atoms.cell[0]
    atoms.pbc = pbc
    found = radius_graph(from_ase(atoms), 4.0, "torch")
    expected = radius_graph(from_ase(atoms), 4.0, "vesin")
    assert edges(found) == edges(expected)


def test_no_atoms_have_no_neighbours():
    empty = from_ase(water()).index([])
    assert len(cell_list.cell_list_edges(empty, 4.0)[0]) == 0


def test_the_time_of_a_cell_list_is_linear_in_the_atoms(monkeypatch):
    seen = []
    candidates = cell_list._candidates
    counted = lambda *a: (seen.append(len(part[0])) or part for part in candidates(*a))  # noqa: E731
    monkeypatch.setattr(cell_list, "_candidates", counted)
    totals = []
    for size in (5, 10):
        seen.clear()
        radius_graph(from_ase(bulk("Cu", cubic=True).repeat(size)), 4.0, "torch")
        totals.append(sum(seen))
    assert totals[1] < 9 * totals[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_non_contiguous_input(backend):
    structures = from_ase(crystal())
    wide = torch.stack([structures.positions, torch.zeros(8, 3)], dim=2)
    strided = structures.replace(positions=wide[:, :, 0], cell=structures.cell.mT.contiguous().mT)
    assert not strided.positions.is_contiguous()
    expected = edges(radius_graph(structures, 4.0))
    assert edges(radius_graph(strided, 4.0, backend)) == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pair_at_the_cutoff_is_left_out(backend):
    atoms = from_ase(Atoms("H2", [[0, 0, 0], [2.0, 0, 0]]))
    assert len(radius_graph(atoms, 2.0, backend).center) == 0
    assert len(radius_graph(atoms, 2.0 + 1e-9, backend).center) == 2


def test_chunks_do_not_change_the_torch_list(monkeypatch):
    structures = from_ase([crystal(), water(), slab()])
    whole = edges(radius_graph(structures, 5.0, "torch"))
    monkeypatch.setattr(cell_list, "CHUNK", 50)
    assert edges(radius_graph(structures, 5.0, "torch")) == whole


def test_unknown_backend():
    with pytest.raises(UnknownNameError, match="Did you mean 'vesin'"):
        radius_graph(from_ase(water()), 3.0, "vesinn")


def walk(atoms: Atoms, verlet: VerletList, n_steps: int, size: float, shear: float = 0.0) -> None:
    rng = np.random.default_rng(0)
    for _ in range(n_steps):
        atoms.positions += rng.normal(scale=size, size=atoms.positions.shape)
        if shear:
            strain = np.eye(3) + rng.normal(scale=shear, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        graph = verlet.graph(from_ase(atoms))
        assert edges(graph) == ase_edges(atoms, verlet.cutoff)
        assert graph.cutoff == verlet.cutoff


@pytest.mark.parametrize("shear", [0.0, 0.005])
def test_reused_neighbours_are_the_right_ones(shear):
    verlet = VerletList(4.0, 0.6)
    walk(crystal(), verlet, 40, 0.01, shear)
    assert 1 <= verlet.searches < 20


def test_neighbours_are_searched_again_for_another_structure():
    verlet = VerletList(4.0, 0.6)
    for atoms in (crystal(), slab(), water(), crystal()[:4]):
        assert edges(verlet.graph(from_ase(atoms))) == ase_edges(atoms, 4.0)
    assert verlet.searches == 4


def test_wrapping_an_atom_is_noticed():
    atoms, verlet = crystal(), VerletList(4.0, 0.6)
    verlet.graph(from_ase(atoms))
    atoms.positions[0] += atoms.cell[0]
    assert edges(verlet.graph(from_ase(atoms))) == ase_edges(atoms, 4.0)


def test_atoms_moved_in_place_are_noticed():
    structures, verlet = from_ase(crystal()), VerletList(4.0, 0.6)
    verlet.graph(structures)
    structures.positions[0] += 1.0
    assert edges(verlet.graph(structures)) == edges(radius_graph(structures, 4.0))
    assert verlet.searches == 2


def test_a_lost_lattice_vector_is_noticed():
    atoms, verlet = slab(), VerletList(4.0, 0.6)
    verlet.graph(from_ase(atoms))
    atoms.cell[2] = 0
    assert edges(verlet.graph(from_ase(atoms))) == ase_edges(atoms, 4.0)
    assert verlet.searches == 2


def test_without_skin_every_step_searches():
    verlet = VerletList(4.0, 0.0)
    walk(molecule("CH3CH2OH"), verlet, 3, 0.01)
    assert verlet.searches == 3


def test_a_compressed_cell_is_searched_again():
    """Scaling all atoms moves none relative to the cell, and yet brings new neighbours."""
    atoms, verlet = bulk("Cu", cubic=True), VerletList(4.0, 0.6)
    verlet.graph(from_ase(atoms))
    atoms.set_cell(atoms.cell * 0.8, scale_atoms=True)
    assert edges(verlet.graph(from_ase(atoms))) == ase_edges(atoms, 4.0)
    assert verlet.searches == 2


@pytest.mark.parametrize("shear", [0.0, 0.005])
def test_a_batch_searches_only_those_that_moved(shear):
    frames, rng = [crystal(), slab(), water(), crystal()[:4]], np.random.default_rng(0)
    verlet = VerletList(4.0, 0.6)
    for _ in range(20):
        for i, atoms in enumerate(frames[:-1]):  # the last stays where it is
            atoms.positions += rng.normal(scale=0.02 * (i + 1), size=atoms.positions.shape)
            if shear and i == 0:
                strain = np.eye(3) + rng.normal(scale=shear, size=(3, 3))
                atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        graph = verlet.graph(from_ase(frames))
        parts = [edges(part) for part in graph.split()]
        assert parts == [ase_edges(atoms, 4.0) for atoms in frames]
    assert len(frames) < verlet.searches < 3 * 20


def test_where_all_structures_stay_what_was_found_stays_too():
    verlet, structures = VerletList(4.0, 0.6), from_ase([crystal(), water()])
    found = verlet.candidates(structures)
    verlet.keep([0, 1])
    assert verlet.candidates(structures) is found
    verlet.keep([1])
    assert verlet.candidates(from_ase([water()])) is not found


def test_structures_leave_and_join_a_batch():
    verlet, frames = VerletList(4.0, 0.6), [crystal(), slab(), water()]
    verlet.graph(from_ase(frames))
    verlet.keep([2, 0])
    joined = [frames[2], frames[0], crystal()[:4]]
    graph = verlet.graph(from_ase(joined))
    assert [edges(part) for part in graph.split()] == [ase_edges(a, 4.0) for a in joined]
    assert verlet.searches == 4
    verlet.keep([])
    verlet.graph(from_ase(joined))
    assert verlet.searches == 7


def test_one_structure_is_searched_again_when_it_would_be_among_others():
    """One on the CPU is judged with fewer calls than several."""
    rng = np.random.default_rng(0)
    alone, pair = VerletList(3.0, 0.6), VerletList(3.0, 0.6)
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    searched = []
    for _ in range(60):
        atoms.rattle(0.05 * rng.uniform(), rng=rng)
        if rng.uniform() < 0.3:
            strain = np.eye(3) + rng.normal(scale=0.02, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=bool(rng.uniform() < 0.7))
        before = alone.searches
        one, two = alone.graph(from_ase(atoms)), pair.graph(from_ase([atoms, atoms]))
        searched.append(alone.searches > before)
        assert pair.searches == 2 * alone.searches
        assert len(two.center) == 2 * len(one.center)
    assert 5 < sum(searched) < 55


@pytest.mark.parametrize("change", ["species", "pbc", "no cell"])
def test_one_structure_that_became_another_is_searched_again(change):
    moving = VerletList(3.0, 0.6)
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    moving.graph(from_ase(atoms))
    if change == "species":
        atoms.numbers[0] = 19
    elif change == "pbc":
        atoms.pbc[2] = False
    else:
        atoms.pbc, atoms.cell = False, None
    moving.graph(from_ase(atoms))
    assert moving.searches == 2


def test_tables_of_edges_are_kept_as_long_as_the_edges_stay():
    verlet, structures = VerletList(4.0, 0.6), from_ase(crystal())
    first = verlet.graph(structures)
    first.tables["mark"], pointers = 1, first.pointers
    nearby = structures.replace(positions=structures.positions + 1e-7)
    again = verlet.graph(nearby)
    assert again.tables is first.tables
    assert again.pointers is pointers
    expected = radius_graph(nearby, 4.0)
    assert torch.equal(again.center, expected.center)
    assert torch.allclose(again.vectors, again.replace().vectors)
    longest = int(again.vectors.norm(dim=1).argmax())
    away = nearby.positions.clone()
    # Within half the skin, and beyond the cutoff.
    away[again.center[longest]] -= 0.06 * again.vectors[longest]
    other = verlet.graph(structures.replace(positions=away))
    assert verlet.searches == 1
    assert len(other.center) != len(again.center)
    assert "mark" not in other.tables
