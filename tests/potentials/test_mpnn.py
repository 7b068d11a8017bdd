"""MPNN (enn-s2s): the published sums, bonds as they are found, 2-D graphs."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.errors import ConfigError, ModelError, StructureError
from matkit.models import checkpoint
from matkit.nn.bonds import atom_features, bond_features, bond_graph
from matkit.properties.reading import molecule_of
from matkit.structures import cat

SMALL = {"species": [1, 6, 7, 8], "width": 6, "steps": 3, "edge_hidden": [5, 7]}


def build(**given):
    torch.manual_seed(0)
    return checkpoint.build("mpnn", {**SMALL, **given}).double()


def features(model, structures):
    with torch.no_grad():
        return model(model.featurize(structures))["features"]


@pytest.fixture(scope="module")
def acid():
    return molecule_of("CC(=O)O", conformers=True)


def test_messages_are_matrices_of_edges_times_states(acid):
    """The published sum, ``m_v = Σ_w A(e_vw) h_w``, with matrices that are made."""
    model = build()
    graph = model.featurize(acid)
    with torch.no_grad():
        first = model._initial(graph)
        hidden = model.edges(model._edge_features(graph, first))
        hidden = torch.cat([hidden, torch.ones_like(hidden[:, :1])], 1)
        blocks = model.messages.weight.view(12, 8, 6)  # out, k, d
        matrices = torch.einsum("ek,okd->eod", hidden, blocks)
        state = first
        for _ in range(model.steps):
            sent = torch.einsum("eod,ed->eo", matrices, state[graph.neighbor])
            received = torch.zeros(len(state), 12, dtype=torch.float64)
            received.index_add_(0, graph.center, sent)
            state = model.update(received, state)
        expected = torch.cat([state, first], 1)
    torch.testing.assert_close(features(model, acid), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("distances", ["raw", "bins", "none"])
def test_batches_of_different_molecules_equal_singles(distances, acid):
    model = build(distances=distances)
    water = molecule_of("O", conformers=True)
    methane = molecule_of("C", conformers=True)
    together = features(model, cat([water, acid, methane]))
    singles = torch.cat([features(model, one) for one in (water, acid, methane)])
    torch.testing.assert_close(together, singles, rtol=0, atol=1e-10)


def test_single_atoms_and_fragments_have_features():
    model = build()
    far = Atoms("HeH2".replace("He", "O"), [[0, 0, 0], [0, 0, 50.0], [0, 0, 50.7]])
    both = features(model, cat([from_ase(Atoms("C")), from_ase(far)]))
    assert both.isfinite().all()
    torch.testing.assert_close(both[1:2], features(model, from_ase(Atoms("O"))), atol=1e-12, rtol=0)


def test_without_distances_positions_have_no_say(acid):
    flat = molecule_of("CC(=O)O", conformers=False)
    model = build(distances="none")
    assert model.sees == {"bonds"}
    torch.testing.assert_close(features(model, flat), features(model, acid), rtol=0, atol=1e-12)
    with pytest.raises(StructureError, match="Expected molecules with bonds"):
        model.featurize(from_ase(molecule("H2O")))


def test_bonds_change_what_it_says(acid):
    model, bare = build(), acid.replace(bonds=None, bond={})
    assert (features(model, acid) - features(model, bare)).abs().max() > 1e-3


def test_chemistry_of_acetic_acid(acid):
    found = dict(
        zip(["methyl", "carbonyl", "oxo", "hydroxy"], atom_features(acid)[:4], strict=True)
    )
    # Acceptor, donor, aromatic, sp, sp2, sp3, hydrogens, charge.
    assert found["methyl"].tolist() == [0, 0, 0, 0, 0, 1, 3, 0]
    assert found["carbonyl"].tolist() == [0, 0, 0, 0, 1, 0, 0, 0]
    assert found["oxo"].tolist() == [1, 0, 0, 0, 1, 0, 0, 0]
    assert found["hydroxy"].tolist() == [1, 1, 0, 0, 0, 1, 1, 0]
    benzene, nitrile = (molecule_of(text, False) for text in ("c1ccccc1", "C#N"))
    assert atom_features(benzene)[:6, 2].all()
    assert atom_features(nitrile)[:2, 3].all(), "sp"


def test_edges_know_their_bonds(acid):
    graph = build().featurize(acid)
    kinds = bond_features(graph)
    assert kinds.sum() == 2 * len(acid.bonds)
    double = kinds[:, 1].nonzero().flatten().tolist()
    assert {frozenset((int(graph.center[e]), int(graph.neighbor[e]))) for e in double} == {
        frozenset((1, 2))
    }


def test_a_graph_of_bonds_is_sorted(acid):
    graph = bond_graph(acid, 5.0)
    assert len(graph.center) == 2 * len(acid.bonds)
    assert np.all(np.diff(graph.center) >= 0)


def test_it_is_no_potential():
    with pytest.raises(ModelError, match="predicts features and no energy"):
        force_field(build())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"distances": "some"}, "distances"),
        ({"steps": 0}, "steps"),
        ({"edge_hidden": []}, "edge_hidden"),
        ({"cutoff": 0.0}, "cutoff"),
    ],
)
def test_impossible_arguments(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        build(**changes)
