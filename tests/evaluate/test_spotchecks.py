from importlib import import_module

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.eos import EquationOfState

from matkit.errors import StructureError
from matkit.evaluate.figures import energy_volume_figure, nve_figure
from matkit.evaluate.spotchecks import (
    FEWEST,
    bare_atoms,
    energy_volume,
    fit_birch_murnaghan,
    nve,
    pick_structure,
    widest_gap,
)
from matkit.units import GPA
from tests.evaluate.labelled import dataset, frames


def test_the_curve_is_the_one_of_ase():
    atoms = bulk("Cu", cubic=True)
    curve = energy_volume(atoms, EMT())
    volumes, energies = np.array(curve["volume"]), np.array(curve["energy"])
    assert volumes[[0, -1]] == pytest.approx(np.array([0.85, 1.15]) * atoms.get_volume() / 4)
    scaled = bulk("Cu", a=(4 * volumes[0]) ** (1 / 3))
    scaled.calc = EMT()
    assert energies[0] == pytest.approx(scaled.get_potential_energy())
    volume, _, modulus = EquationOfState(volumes, energies, "birchmurnaghan").fit(warn=False)
    assert curve["equilibrium_volume"] == pytest.approx(volume, rel=1e-3)
    assert curve["bulk_modulus"] == pytest.approx(modulus / GPA, rel=5e-3)


def test_birch_murnaghan_is_fitted_exactly():
    # Birch (1947), with V0 = 16 Å³, B0 = 100 GPa, B0' = 5.
    volumes = np.linspace(14.0, 18.0, 13)
    x = (16.0 / volumes) ** (2 / 3)
    energies = 9 * 16 * 100 * GPA / 16 * ((x - 1) ** 3 * 5 + (x - 1) ** 2 * (6 - 4 * x))
    found = fit_birch_murnaghan(volumes, energies)
    assert found["equilibrium_volume"] == pytest.approx(16.0, rel=1e-6)
    assert found["bulk_modulus"] == pytest.approx(100.0, rel=1e-5)


@pytest.mark.parametrize("energies", [np.arange(13.0), -np.arange(13.0)])
def test_no_minimum_inside_no_equilibrium(energies):
    assert fit_birch_murnaghan(np.linspace(14.0, 18.0, 13), energies) == {}


def test_no_curve_for_what_has_no_volume():
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0)
    assert "not periodic" in energy_volume(molecule("H2O"), EMT())["skipped"]
    assert "not periodic" in energy_volume(slab, EMT())["skipped"]
    slab.pbc = True
    assert "gap of 12.0 Å" in energy_volume(slab, EMT())["skipped"]


def test_the_gap_is_measured_across_the_boundary():
    atoms = Atoms("H2", positions=[[0, 0, 1], [0, 0, 9]], cell=[3, 3, 12], pbc=True)
    assert widest_gap(atoms) == pytest.approx(8.0)
    atoms.positions[1, 2] = 4
    assert widest_gap(atoms) == pytest.approx(9.0)


@pytest.mark.parametrize(("symbol", "timestep"), [("Cu", 1.0), ("H", 0.5)])
def test_energy_is_kept(symbol, timestep, monkeypatch):
    monkeypatch.setattr(import_module("matkit.evaluate.spotchecks"), "LENGTH", 100.0)
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[0] = symbol
    run = nve(atoms, EMT(), seconds=1000.0)
    assert (run["reason"], run["steps"], run["timestep"]) == ("done", 100 / timestep, timestep)
    assert run["time"][-1] == 100.0
    assert run["total_energy"][0] == 0.0
    assert np.abs(run["total_energy"]).max() < 20
    assert 50 < run["temperature"] < 400
    assert run["drift"] == pytest.approx(
        1000 * np.polyfit(run["time"], run["total_energy"], 1)[0], rel=1e-4, abs=1e-4
    )


class Slow(Calculator):
    """EMT that takes its time, or refuses."""

    implemented_properties = ("energy", "forces")

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error

    def calculate(self, atoms=None, properties=("energy",), system_changes=()) -> None:
        super().calculate(atoms, properties, system_changes)
        if self.error is not None:
            raise self.error
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def test_the_run_is_shorter_where_steps_are_slow(monkeypatch):
    monkeypatch.setattr(
        import_module("matkit.evaluate.spotchecks"), "_time_of_step", lambda atoms, calc: 0.1
    )
    run = nve(bulk("Cu", cubic=True), Slow(), seconds=15.0)
    assert run["steps"] == 150
    run = nve(bulk("Cu", cubic=True), Slow(), seconds=9.0)  # it was skipped
    assert run["steps"] == FEWEST
    skipped = nve(bulk("Cu", cubic=True), Slow(), seconds=1.5)["skipped"]
    assert "0.10 s" in skipped
    assert "more than 9 s" in skipped


def test_dynamics_that_cannot_be_are_skipped():
    assert "single atom" in nve(bulk("Cu"), EMT(), 1.0)["skipped"]
    refusing = Slow(StructureError("atoms coincide"))
    assert nve(bulk("Cu", cubic=True), refusing, 1.0) == {"skipped": "atoms coincide"}


def test_the_structure_nearest_to_rest_is_picked(tmp_path):
    atoms = frames()
    atoms[4].arrays["REF_forces"][:] = 0.01
    data = dataset(tmp_path, atoms)
    assert pick_structure(data) == 4
    bare = bare_atoms(data, 4)
    assert bare.info == {}
    assert bare.arrays.keys() == {"numbers", "positions"}
    assert bare.positions == pytest.approx(atoms[4].positions, abs=1e-7)


def test_small_structures_are_picked_first(tmp_path):
    """Of large ones dynamics were skipped."""
    atoms = frames()
    large = atoms[0] * (2, 3, 4)
    large.arrays["REF_forces"][:] = 0.0
    assert len(large) > 64
    assert pick_structure(dataset(tmp_path, [large, *atoms[:2]])) in (1, 2)
    assert pick_structure(dataset(tmp_path, [large])) == 0


def test_single_atoms_are_never_picked(tmp_path):
    atom = Atoms("Na", cell=3 * np.eye(3), pbc=True)
    atom.info["REF_energy"] = 1.0
    atom.set_array("REF_forces", np.zeros((1, 3)))
    assert pick_structure(dataset(tmp_path, [atom])) is None
    assert pick_structure(dataset(tmp_path, [atom, frames()[3]])) == 1


def test_every_model_has_a_curve():
    curve = {"volume": [1.0, 2.0], "energy": [-5.0, -4.9]}
    (axes,) = energy_volume_figure({"before": curve, "after": curve}).axes
    assert [line.get_label() for line in axes.lines] == ["before", "after"]
    assert axes.lines[0].get_ydata() == pytest.approx([0.0, 100.0])
    (axes,) = nve_figure({"after": {"time": [0.0, 1.0], "total_energy": [0.0, 0.2]}}).axes
    assert axes.lines[0].get_ydata() == pytest.approx([0.0, 0.2])
