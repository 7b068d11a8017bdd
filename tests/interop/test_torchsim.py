"""TorchSim with our potentials gives what our calculators give; it needs Python 3.12."""

import importlib
import importlib.util
import sys

import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet

from matkit import load_calculator
from matkit.calculator import MatkitCalculator
from matkit.errors import ConfigError, IgnoredConditionError, MissingExtraError, StructureError
from matkit.simulate.velocities import set_velocities
from matkit.testing.systems import crystal, slab, tiny_cell, water
from tests.simulate.morse import Morse

needs_torchsim = pytest.mark.skipif(
    importlib.util.find_spec("torch_sim") is None,
    reason="TorchSim, which needs Python 3.12, is not installed",
)
CPU = torch.device("cpu")


@pytest.fixture
def ts():
    import torch_sim

    return torch_sim


def model_of(calc):
    from matkit.interop.torchsim import TorchSimModel

    return TorchSimModel(calc)


def default(**given):
    return load_calculator("nequip-universal", device="cpu", **given)


def morse(depth=0.4, species=(29, 47)):
    model = Morse(depth)
    model.species = species
    return model


def copper(repeat=1):
    atoms = bulk("Cu", cubic=True).repeat(repeat)
    atoms.rattle(0.1, seed=1)
    return atoms


@needs_torchsim
def test_torchsim_finds_the_model_in_order():
    from torch_sim.models.interface import validate_model_outputs

    validate_model_outputs(model_of(default(dtype="float64")), CPU, torch.float64)


@needs_torchsim
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_are_those_of_the_calculator(ts, dtype):
    frames = [crystal(), tiny_cell(), copper()]
    calc = default(dtype=dtype)
    type_, tolerance = getattr(torch, dtype), {"float32": 2e-5, "float64": 1e-10}[dtype]
    state = ts.io.atoms_to_state(frames, CPU, type_)
    results = model_of(calc)(state)
    assert {value.dtype for value in results.values()} == {type_}
    for i, atoms in enumerate(frames):
        atoms.calc = calc
        energy = atoms.get_potential_energy()
        forces = results["forces"][state.system_idx == i]
        stress = atoms.get_stress(voigt=False)
        np.testing.assert_allclose(results["energy"][i], energy, atol=tolerance * len(atoms))
        np.testing.assert_allclose(forces, atoms.get_forces(), atol=tolerance)
        np.testing.assert_allclose(results["stress"][i], stress, atol=tolerance)


@needs_torchsim
@pytest.mark.parametrize("atoms", [slab(), water()], ids=["slab", "molecule"])
def test_periodicity_is_that_of_the_state(ts, atoms):
    calc = default(dtype="float64")
    results = model_of(calc)(ts.io.atoms_to_state([atoms], CPU, torch.float64))
    atoms.calc = calc
    assert results["energy"].item() == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    assert bool(results["stress"].isnan().all()) == (not atoms.pbc.any())


@needs_torchsim
def test_a_committee_gives_means(ts):
    members = [morse(0.3), morse(0.5)]
    state = ts.io.atoms_to_state([copper()], CPU, torch.float64)
    parts = [model_of(MatkitCalculator(m, dtype="float64"))(state) for m in members]
    mean = model_of(MatkitCalculator(members, dtype="float64"))(state)
    for name, value in mean.items():
        torch.testing.assert_close(value, (parts[0][name] + parts[1][name]) / 2)


@needs_torchsim
def test_a_relaxation_comes_to_rest(ts):
    frames = [copper(), copper((2, 1, 1))]
    for atoms in frames:
        atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
    final = ts.optimize(
        frames,
        model_of(MatkitCalculator(morse(), dtype="float64")),
        optimizer=ts.Optimizer.fire,
        convergence_fn=ts.generate_force_convergence_fn(force_tol=0.005, include_cell_forces=True),
        init_kwargs={"cell_filter": ts.CellFilter.frechet},
        max_steps=300,
    )
    per_atom = final.energy / torch.tensor([len(atoms) for atoms in frames])
    torch.testing.assert_close(per_atom[0], per_atom[1], atol=1e-3, rtol=0)
    assert final.forces.norm(dim=1).max() < 0.005


@needs_torchsim
def test_dynamics_are_those_of_ase(ts):
    atoms = copper()
    set_velocities(atoms, 300, np.random.default_rng(0))
    calc = MatkitCalculator(morse(), dtype="float64")
    model = model_of(calc)
    state = ts.io.atoms_to_state([atoms], CPU, torch.float64)
    state = ts.nve_init(state, model, kT=torch.tensor(0.0))
    state.momenta = torch.tensor(atoms.get_momenta())
    atoms.calc = calc
    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    for _ in range(20):
        # in TorchSim's own unit of time, Å sqrt(u/eV), which is that of ASE
        state = ts.nve_step(state, model, dt=torch.tensor(1.0 * units.fs))
        dynamics.run(1)
    np.testing.assert_allclose(state.positions, atoms.positions, atol=1e-8)


@needs_torchsim
def test_other_calculators_are_refused():
    with pytest.raises(ConfigError, match="got LennardJones"):
        model_of(LennardJones())


@needs_torchsim
def test_elements_that_the_model_does_not_know_are_refused(ts):
    with pytest.raises(StructureError, match="Si"):
        model_of(MatkitCalculator(morse()))(ts.io.atoms_to_state([bulk("Si")], CPU, torch.float64))


@needs_torchsim
def test_charges_that_the_model_ignores_are_refused(ts):
    state = ts.io.atoms_to_state([molecule("H2O")], CPU, torch.float64)
    state.system_extras["charge"] = torch.tensor([1.0])
    with pytest.raises(IgnoredConditionError, match="charge 1"):
        model_of(default())(state)
    model_of(default(ignore_charge=True))(state)


def test_without_torchsim_there_is_a_word_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_sim.models.interface", None)
    monkeypatch.delitem(sys.modules, "matkit.interop.torchsim", raising=False)
    with pytest.raises(MissingExtraError, match=r"matkit\[torchsim\].*3\.12"):
        importlib.import_module("matkit.interop.torchsim")
