"""Layers recorded as launches, for few edges, against the same layers step by step."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.models.checkpoint import build
from matkit.nn import layered
from matkit.testing.systems import crystal, water
from tests.nn.frozen import test_mace
from tests.nn.frozen.test_inference import SWITCHES, pair, results
from tests.potentials.test_mace import TINY

SMALL = SWITCHES | {
    "a matrix for every species": {"self_connection": "species"},
    "one for all": {"self_connection": "linear"},
}


def both(model, structures, monkeypatch):
    """Energies and forces recorded, and step by step."""
    recorded = results(model, structures)
    assert model.network._recorded is not None
    with monkeypatch.context() as patch:
        patch.setattr(layered, "FEW_EDGES", 0)
        steps = results(model, structures)
    return recorded, steps


def check(recorded, steps, tolerance=1e-12):
    for key in ("atom_energy", "forces", "features"):
        scale = steps[key].abs().max()
        assert (recorded[key] - steps[key]).abs().max() <= tolerance * scale, key


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", SMALL)
def test_recorded_layers_agree_with_steps(name, dtype, tolerance, monkeypatch):
    model, _ = pair(SMALL[name], dtype)
    check(*both(model, from_ase(water()), monkeypatch), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_recorded_residual_layers_agree_with_steps(dtype, tolerance, monkeypatch):
    """With fewer, as many, and more channels in the result than in the input."""
    torch.manual_seed(0)
    irreps = ["8x0e", "12x0e+6x1o+4x2e", "5x0e+6x1o+4x2e", "8x0e"]
    settings = {"species": [1, 8, 11, 17], "irreps": irreps, "residual_init": 0.5}
    model = force_field(build("facet", settings).to(dtype)).eval()
    for atoms in (water(), crystal()):
        recorded, steps = both(model, from_ase(atoms), monkeypatch)
        assert steps["forces"].abs().max() > 1e-3
        check(recorded, steps, tolerance)


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [(name, torch.float64, 1e-12) for name in test_mace.SWITCHES]
    + [("residual", torch.float32, 1e-5), ("density, agnesi", torch.float32, 1e-5)],
)
def test_recorded_layers_of_mace_agree_with_steps_and_autograd(name, dtype, tolerance, monkeypatch):
    """Whose energy is that of the scalars of every layer."""
    model, reference = test_mace.pair(test_mace.SWITCHES[name], dtype)
    for atoms in (water(), crystal()):
        recorded, steps = both(model, from_ase(atoms), monkeypatch)
        check(recorded, steps, tolerance)
        expected = results(reference, from_ase(atoms))["forces"]
        assert expected.abs().max() > 1e-3
        error = (recorded["forces"] - expected).abs().max()
        assert error <= (1e-9 if dtype == torch.float64 else 2e-5) * expected.abs().max()


@pytest.mark.parametrize("reason", ["powers on a sphere", "a kernel that is off"])
def test_products_without_a_kernel_go_step_by_step(reason, monkeypatch):
    products = "sphere" if reason == "powers on a sphere" else "paths"
    if products == "paths":
        monkeypatch.setattr("matkit.nn.kernels.contraction.check.agrees", lambda _: False)
    model, reference = test_mace.pair(TINY | {"products": products}, torch.float64)
    got, expected = (results(m, from_ase(water()))["forces"] for m in (model, reference))
    assert model.network._frozen[1]
    assert model.network._recorded is None
    assert torch.allclose(got, expected, rtol=0, atol=1e-10)


def test_other_layers_may_have_a_derivative_the_next_time(monkeypatch):
    model, _ = test_mace.pair(TINY, torch.float64)
    whole = both(model, from_ase(water()), monkeypatch)
    energy = model.network._energy

    def only_last(scalars, index):
        value, (_, last) = energy(scalars, index)
        return value, [None, last]

    monkeypatch.setattr(model.network, "_energy", only_last)
    part = both(model, from_ase(water()), monkeypatch)
    check(*whole)
    check(*part)
    assert not torch.allclose(whole[0]["forces"], part[0]["forces"])


def test_other_atoms_and_more_edges_are_recorded_anew(monkeypatch):
    model, _ = pair({}, torch.float64)
    far = Atoms("OH2", positions=[[0, 0, 0], [2.5, 0, 0], [0, 40, 0]])
    near = Atoms("OH2", positions=[[0, 0, 0], [2.5, 0, 0], [0, 2.5, 0]])
    for atoms in (water(), far, near, near[[1, 0, 2]], crystal()):
        check(*both(model, from_ase(atoms), monkeypatch))


def test_more_edges_than_there_is_memory_for_are_recorded_anew(monkeypatch):
    model, _ = pair({}, torch.float64)
    wide = Atoms("OH2", positions=[[0, 0, 0], [1, 0, 0], [0, 1, 0]], cell=[9, 9, 9], pbc=True)
    small = wide.copy()
    small.set_cell([2.2, 2.2, 2.2])
    both(model, from_ase(wide), monkeypatch)
    first = model.network._recorded
    assert len(model.featurize(from_ase(small)).center) > first.capacity
    check(*both(model, from_ase(small), monkeypatch))
    assert model.network._recorded is not first


def test_the_same_atoms_are_recorded_once(monkeypatch):
    model, _ = pair({}, torch.float64)
    atoms, seen = molecule("H2O"), []
    for seed in range(3):
        atoms.rattle(0.05, seed=seed)
        check(*both(model, from_ase(atoms), monkeypatch))
        seen.append(model.network._recorded)
    assert seen[0] is seen[1] is seen[2]


def test_a_changed_weight_is_recorded_anew(monkeypatch):
    model, _ = pair({}, torch.float64)
    before = results(model, from_ase(water()))["energy"]
    with torch.no_grad():
        model.network.interactions[0].linear_out.weights[0].mul_(1.5)
    recorded, steps = both(model, from_ase(water()), monkeypatch)
    check(recorded, steps)
    assert not torch.equal(recorded["energy"], before)


def test_results_are_not_the_memory_of_the_next_call():
    model, _ = pair({}, torch.float64)
    atoms = water()
    first = results(model, from_ase(atoms))
    kept = {key: first[key].clone() for key in ("energy", "forces", "features")}
    atoms.rattle(0.1, seed=3)
    results(model, from_ase(atoms))
    assert all(torch.equal(first[key], kept[key]) for key in kept)


def test_threads_may_share_a_network():
    model, _ = pair({}, torch.float64)
    structures = [from_ase(water()) for _ in range(8)]
    for i, one in enumerate(structures):
        one.positions[0, 0] += 0.05 * i
    alone = [results(model, one)["forces"] for one in structures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: results(model, one)["forces"], structures * 3))
    for got, expected in zip(together, alone * 3, strict=True):
        assert np.array_equal(got, expected)


def test_layers_with_other_parts_go_step_by_step():
    model, _ = pair({}, torch.float64)
    results(model, from_ase(water()))
    layers = model.network._frozen[1]
    assert all(layer.recordable for layer in layers)
    for layer in layers:
        object.__setattr__(layer, "table", None)
    assert not any(layer.recordable for layer in layers)
    model.network._recorded = None
    results(model, from_ase(water()))
    assert model.network._recorded is None
