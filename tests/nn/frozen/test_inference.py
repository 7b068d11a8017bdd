"""The hand-written derivatives of the NequIP family against autograd on the reference backend."""

import copy
import gc
import logging
import pickle
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from ase import Atoms

from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.errors import ConfigError
from matkit.hessians.potentials import finite_difference_hessian
from matkit.models import checkpoint
from matkit.nn import layered
from matkit.nn.frozen import edge_ranges
from matkit.nn.frozen.exact import exact_copy
from matkit.nn.frozen.interaction import FrozenInteraction
from matkit.structures import cat
from matkit.testing.systems import SYSTEMS, crystal, water
from tests.potentials.test_nequip import SEVENNET, TINY

SWITCHES = {
    "natural parity": {},
    "both parities": {
        "irreps": ["8x0e", "8x0e+2x0o+4x1o+3x1e+2x2e", "8x0e+2x0o+4x1o+2x1e", "8x0e"]
    },
    "sevennet": SEVENNET,
    "active read-out": {"readout_activation": True},
    "l up to 3": {"lmax": 3, "irreps": ["8x0e", "8x0e+4x1o+2x2e+2x3o", "8x0e+4x1o+2x3o", "8x0e"]},
    "one layer": {"irreps": ["8x0e", "8x0e"]},
}


def pair(switches: dict, dtype: torch.dtype) -> tuple[Conservative, Conservative]:
    """The potential, and a double-precision copy that knows only autograd and the reference."""
    torch.manual_seed(0)
    network = checkpoint.build("nequip", TINY | switches)
    reference = copy.deepcopy(network).double()
    for layer in reference.interactions:
        layer.convolution.backend = "reference"
    reference._frozen_layers = lambda graph: []
    return Conservative(network.to(dtype)).eval(), Conservative(reference).eval()


def results(model: Conservative, structures) -> dict[str, torch.Tensor]:
    return model(model.featurize(structures))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", SWITCHES)
def test_agrees_with_autograd(name, dtype, tolerance):
    model, reference = pair(SWITCHES[name], dtype)
    structures = cat([from_ase(make()) for make in SYSTEMS.values()])
    graph = model.featurize(structures)
    assert model.network.edge_gradient(graph) is not None
    got, expected = results(model, structures), results(reference, structures)
    for key in ("energy", "atom_energy", "forces", "stress"):
        scale = expected[key].nan_to_num().abs().max()
        error = (got[key] - expected[key]).nan_to_num().abs().max()
        assert error <= tolerance * scale, key
        assert torch.equal(got[key].isnan(), expected[key].isnan())
    assert torch.allclose(got["features"].double(), expected["features"], atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chunks_of_centres_change_nothing(monkeypatch, dtype):
    model, _ = pair({}, dtype)
    structures = cat([from_ase(make()) for make in SYSTEMS.values()])
    monkeypatch.setattr(layered, "FEW_EDGES", 0)
    whole = results(model, structures)
    monkeypatch.setattr(edge_ranges, "WORKING_SET", 500)
    monkeypatch.setattr(edge_ranges, "CENTERS", 2)
    parts = results(model, structures)
    for key in ("energy", "forces", "stress"):
        error = 1e-12 if dtype == torch.float64 else 1e-6
        assert torch.allclose(whole[key], parts[key], rtol=0, atol=error, equal_nan=True)


def test_edges_shorter_than_the_table_use_the_network_itself():
    model, reference = pair({}, torch.float32)
    atoms = from_ase(Atoms("OH", [[0, 0, 0], [0, 0, 0.3]]))
    assert model.network.edge_gradient(model.featurize(atoms)) is None
    got, expected = results(model, atoms)["forces"], results(reference, atoms)["forces"]
    assert torch.allclose(got, expected, rtol=1e-4)


def test_isolated_atoms_among_others():
    model, reference = pair({}, torch.float64)
    atoms = water() + Atoms("Na", [[30.0, 0, 0]]) + Atoms("Cl", [[0, 40.0, 0]])
    got, expected = results(model, from_ase(atoms)), results(reference, from_ase(atoms))
    assert torch.allclose(got["atom_energy"], expected["atom_energy"], atol=1e-12)
    assert torch.allclose(got["forces"], expected["forces"], atol=1e-12)


def test_a_changed_weight_is_noticed():
    model, _ = pair({}, torch.float64)
    structures = from_ase(crystal())
    before = results(model, structures)["energy"]
    with torch.no_grad():
        model.network.interactions[0].radial.weights[0].mul_(1.1)
    after = results(model, structures)["energy"]
    model.network._frozen_layers = lambda graph: []
    assert not torch.allclose(before, after)
    assert torch.allclose(after, results(model, structures)["energy"], atol=1e-10)


def test_frozen_layers_stay_out_of_copies_and_pickles():
    model, _ = pair({}, torch.float32)
    structures = from_ase(crystal())
    before = results(model, structures)["energy"]
    for duplicate in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert duplicate.network._frozen is None
        assert torch.equal(results(duplicate, structures)["energy"], before)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("nequip", TINY),
        ("facet", {"species": [1, 8], "irreps": ["8x0e", "8x0e+4x1o", "8x0e"]}),
        ("mace", {"species": [1, 8], "num_channels": 4, "harmonics_lmax": 2}),
    ],
)
def test_the_double_precision_copy_is_given_back(name, settings, monkeypatch):
    copies = []

    def noted(*args):
        copies.append(weakref.ref(made := exact_copy(*args)))
        return made

    model = Conservative(checkpoint.build(name, settings).float()).eval()
    monkeypatch.setattr(layered, "exact_copy", noted)
    results(model, from_ase(water()))
    gc.collect()
    assert model.network._frozen[1]
    assert [copied() for copied in copies] == [None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_that_cannot_be_tabulated_is_evaluated_and_says_so(monkeypatch, caplog, dtype):
    model, reference = pair({}, dtype)

    def rough(*_, **__):
        raise ConfigError("too rough")

    monkeypatch.setattr("matkit.nn.layered.tabulate", rough)
    with caplog.at_level(logging.WARNING):
        got = results(model, from_ase(crystal()))
    assert "evaluated exactly: too rough" in caplog.text
    assert all(layer.table is None for layer in model.network._frozen[1])
    expected = results(reference, from_ase(crystal()))
    tolerance = 1e-4 if dtype == torch.float32 else 1e-12
    assert torch.allclose(got["energy"], expected["energy"], rtol=tolerance)


def test_double_precision_forces_and_hessians_are_those_of_the_exact_radial_functions():
    model, reference = pair(SEVENNET, torch.float64)
    atoms = from_ase(water())
    got, expected = results(model, atoms)["forces"], results(reference, atoms)["forces"]
    assert all(layer.table is not None for layer in model.network._frozen[1])
    assert 0 < (got - expected).abs().max() <= 1e-9 * expected.abs().max()
    got, expected = (finite_difference_hessian(m, atoms) for m in (model, reference))
    assert torch.allclose(got, expected, rtol=0, atol=1e-7 * float(expected.abs().max()))


def test_results_that_are_differentiated_further_know_no_tables():
    model, reference = pair({}, torch.float64)
    graph = model.featurize(from_ase(water()))
    model.train()
    reference.analytic = False
    got, expected = (m(graph, differentiable=True)["forces"] for m in (model, reference))
    assert torch.allclose(got, expected, rtol=1e-12, atol=1e-13)


def test_a_wrong_kernel_is_found_at_once(monkeypatch, caplog):
    model, reference = pair({}, torch.float32)
    backward = FrozenInteraction.backward

    def wrong(self, *args, **kwargs):
        by_input, by_harmonics, by_lengths = backward(self, *args, **kwargs)
        return by_input, by_harmonics, by_lengths * 1.01

    monkeypatch.setattr(FrozenInteraction, "backward", wrong)
    with caplog.at_level(logging.WARNING):
        got = results(model, from_ase(crystal()))
    assert "its self-check failed" in caplog.text
    expected = results(reference, from_ase(crystal()))
    assert torch.allclose(got["forces"], expected["forces"], rtol=1e-3, atol=1e-5)


def test_results_repeat_to_the_bit_and_do_not_depend_on_threads():
    model, _ = pair({}, torch.float32)
    structures = from_ase(crystal().repeat((2, 2, 1)))
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            found.append(results(model, structures)["forces"])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[1], found[2])
    assert np.allclose(found[0], found[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("nequip", TINY), ("mace", {"species": [11, 17], "num_channels": 4, "harmonics_lmax": 2})],
)
def test_the_first_energy_imports_no_symbolic_algebra(name, settings):
    # torch imports sympy (60 MB, a second) in some of its less travelled functions.
    code = (
        "import sys; from ase.build import bulk; from matkit.models import checkpoint; "
        "from matkit.data.ase import from_ase; from matkit.derivatives import force_field; "
        f"model = force_field(checkpoint.build({name!r}, {settings!r}).float()).eval(); "
        "structures = from_ase(bulk('NaCl', 'rocksalt', a=5.6)); "
        "model(model.featurize(structures)); layers = model.network._frozen[1]; "
        "assert layers and all(getattr(x, 'messages', x).table for x in layers); "
        "print(sorted({'sympy', 'torch._dynamo', 'e3nn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_whose_elements_are_restricted_keeps_its_kernels(caplog):
    """Fine-tuning leaves energies of some elements at another level; the self-check knows it."""
    network = checkpoint.build("nequip", TINY).eval()
    network.one_level = frozenset({8, 11})
    graph = network.featurize(from_ase(Atoms("ONa", [[0, 0, 0], [0, 0, 2]])))
    assert network.edge_gradient(graph) is not None
    assert "falls back" not in caplog.text
