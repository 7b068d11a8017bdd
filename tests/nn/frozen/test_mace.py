"""The written-out derivative of MACE against autograd on the reference backend."""

import copy

import pytest
import torch
from ase import Atoms

from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.models import checkpoint
from matkit.nn import layered
from matkit.nn.frozen import edge_ranges
from matkit.structures import cat
from matkit.testing.systems import SYSTEMS, crystal, water
from tests.potentials.test_mace import DENSITY, PLAIN, TINY

SWITCHES = {
    "residual": TINY,
    "density": DENSITY | {"distance_transform": None},
    "density, agnesi": DENSITY,
    "plain, soft": PLAIN,
    "three layers, repulsion": TINY | {"num_layers": 3, "correlation": 2, "zbl": 0.1},
    "one layer": TINY | {"num_layers": 1, "correlation": 2, "readout_hidden": 0},
}


def pair(settings: dict, dtype: torch.dtype) -> tuple[Conservative, Conservative]:
    """The potential, and a double-precision copy that knows only autograd and the reference."""
    torch.manual_seed(0)
    network = checkpoint.build("mace", settings)
    reference = copy.deepcopy(network).double()
    for layer in reference.interactions:
        layer.convolution.backend = "reference"
    reference._frozen_layers = lambda graph: []
    return Conservative(network.to(dtype)).eval(), Conservative(reference).eval()


def results(model: Conservative, structures) -> dict[str, torch.Tensor]:
    return model(model.featurize(structures))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
@pytest.mark.parametrize("name", SWITCHES)
def test_agrees_with_autograd(name, dtype, tolerance):
    model, reference = pair(SWITCHES[name], dtype)
    structures = cat([from_ase(make()) for make in SYSTEMS.values()])
    assert model.network.edge_gradient(model.featurize(structures)) is not None
    got, expected = results(model, structures), results(reference, structures)
    for key in ("energy", "atom_energy", "forces", "stress", "features"):
        scale = expected[key].nan_to_num().abs().max()
        error = (got[key] - expected[key]).nan_to_num().abs().max()
        assert error <= tolerance * scale, key


@pytest.mark.parametrize("name", ["density", "density, agnesi"])
def test_chunks_of_centres_change_nothing(monkeypatch, name):
    model, _ = pair(SWITCHES[name], torch.float64)
    structures = from_ase(crystal())
    monkeypatch.setattr(layered, "FEW_EDGES", 0)
    whole = results(model, structures)
    monkeypatch.setattr(edge_ranges, "WORKING_SET", 500)
    monkeypatch.setattr(edge_ranges, "CENTERS", 2)
    parts = results(model, structures)
    for key in ("energy", "forces", "stress"):
        assert torch.allclose(whole[key], parts[key], rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", ["density", "density, agnesi"])
def test_candidates_beyond_the_cutoff_change_nothing(name):
    """Graphs of molecular dynamics hold longer edges."""
    from matkit.neighbors import radius_graph

    model, _ = pair(SWITCHES[name], torch.float64)
    structures = from_ase(crystal())
    near = results(model, structures)
    wide = model(radius_graph(structures, model.cutoff + 0.7))
    for key in ("energy", "forces", "stress"):
        assert torch.allclose(near[key], wide[key], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["density", "density, agnesi"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_radial_functions_are_tabulated(name, dtype):
    model, _ = pair(SWITCHES[name], dtype)
    results(model, from_ase(crystal()))
    layers = model.network._frozen[1]
    parts = [part for layer in layers for part in (layer.messages, layer.density.messages)]
    assert [part.table is None for part in parts] == [False] * 4


def test_tables_are_made_for_the_elements_met():
    model, reference = pair(DENSITY, torch.float64)
    for atoms, species in ((water(), (0, 1)), (crystal(), (0, 1, 2, 3)), (water(), (0, 1, 2, 3))):
        structures = from_ase(atoms)
        got, expected = results(model, structures), results(reference, structures)
        assert torch.allclose(got["forces"], expected["forces"], rtol=0, atol=1e-9)
        assert model.network._in_use == species
        assert model.network.edge_gradient(model.featurize(structures)) is not None


@pytest.mark.parametrize("settings", [TINY, DENSITY], ids=["all elements", "those met"])
def test_of_many_elements_those_are_compared_that_tables_are_for(settings):
    """Only these have weights in the double-precision copy."""
    species = [6, 7, 9, 8, 1, *range(10, 25)]  # among the first eight that are tried is no water
    model, reference = pair(settings | {"species": species}, torch.float64)
    got, expected = (results(m, from_ase(water()))["forces"] for m in (model, reference))
    assert model.network._frozen[1]
    assert torch.allclose(got, expected, rtol=0, atol=1e-9)


def test_of_too_many_elements_some_have_tables_in_turn(monkeypatch):
    monkeypatch.setattr("matkit.potentials.mace.MOST_KINDS", 3)
    model, reference = pair(DENSITY, torch.float64)
    both = [from_ase(water()), from_ase(crystal())]
    for structures, tables in ((both[0], True), (both[1], True), (cat(both), False)):
        analytic = model.network.edge_gradient(model.featurize(structures))
        assert (analytic is not None) == tables
        got, expected = results(model, structures), results(reference, structures)
        assert torch.allclose(got["forces"], expected["forces"], rtol=0, atol=1e-9)


def test_edges_shorter_than_the_table_use_the_network_itself():
    model, reference = pair(DENSITY, torch.float64)
    structures = from_ase(Atoms("OH", [[0, 0, 0], [0, 0, 0.3]]))
    assert model.network.edge_gradient(model.featurize(structures)) is None
    got, expected = results(model, structures), results(reference, structures)
    assert torch.allclose(got["forces"], expected["forces"], rtol=1e-9)


def test_without_a_table_radial_functions_are_exact(monkeypatch):
    monkeypatch.setattr("matkit.nn.layered.check_table", lambda *_: False)
    model, reference = pair(DENSITY, torch.float64)
    structures = from_ase(crystal())
    assert model.network.edge_gradient(model.featurize(structures)) is not None
    got, expected = results(model, structures), results(reference, structures)
    assert torch.allclose(got["forces"], expected["forces"], rtol=0, atol=1e-11)
