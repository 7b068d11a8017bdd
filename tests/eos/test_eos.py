"""Equations of state against curves that obey them, and against elastic constants."""

import json

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.eos import birchmurnaghan

from matkit.elastic import elastic
from matkit.eos import EOSOptions, eos
from matkit.eos.figures import eos_figure
from matkit.eos.fit import fitted
from matkit.errors import ConfigError, SimulationError, StructureError
from matkit.report.json_files import json_bytes, plain
from matkit.simulate import relax
from matkit.units import GPA
from tests.phonons.lattice import argon, morse


class Vinet(Calculator):
    """Vinet's equation of a cell of copper: V0 11.8 Å³, B0 140 GPa, B0' 5.2, E0 -3.5 eV."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        x = np.cbrt(atoms.get_volume() / 11.8)
        xi = 1.5 * (5.2 - 1)
        depth = 9 * 140 * GPA * 11.8 / xi**2
        energy = -3.5 + depth * (1 + (xi * (1 - x) - 1) * np.exp(xi * (1 - x)))
        self.results = {"energy": energy, "forces": np.zeros((len(atoms), 3))}


FIXED = {"relax": False, "relax_ions": False}


def test_a_curve_that_obeys_the_equation_gives_its_numbers():
    found = eos(bulk("Cu"), Vinet(), equation="vinet", **FIXED)
    assert (found.reason, found.message) == ("done", "")
    assert found.fit.volume == pytest.approx(11.8, rel=1e-6)
    assert found.fit.energy == pytest.approx(-3.5, abs=1e-6)
    assert found.fit.bulk_modulus / GPA == pytest.approx(140, rel=1e-4)
    assert found.fit.derivative == pytest.approx(5.2, abs=1e-3)
    assert found.fit.residual < 1e-6


@pytest.mark.parametrize("equation", ["birch-murnaghan", "murnaghan", "pourier-tarantola"])
def test_every_equation_is_near_the_others(equation):
    found = eos(bulk("Cu"), Vinet(), equation=equation, compress=0.06, expand=0.06, **FIXED)
    assert found.fit.volume == pytest.approx(11.8, rel=1e-3)
    assert found.fit.bulk_modulus / GPA == pytest.approx(140, rel=0.01)
    assert found.fit.residual < 1e-3


def test_the_bulk_modulus_is_the_one_of_elastic_constants():
    found = eos(bulk("Cu"), EMT())
    constants = elastic(bulk("Cu"), EMT(), norm_strains=[-0.002, 0.002], shear_strains=[0.001])
    assert found.converged
    assert found.fit.bulk_modulus == pytest.approx(constants.bulk_modulus, rel=0.02)
    assert found.fit.volume == pytest.approx(found.atoms.get_volume(), rel=1e-3)


def test_a_supercell_has_the_same_equation():
    one, two = (eos(atoms, EMT(), points=7).fit for atoms in (bulk("Cu"), bulk("Cu") * (2, 1, 1)))
    assert two.volume == pytest.approx(2 * one.volume, rel=1e-4)
    assert two.bulk_modulus == pytest.approx(one.bulk_modulus, rel=1e-3)


def test_a_shape_that_relaxes_lowers_the_energy_at_the_same_volume():
    settings = {"optimizer": "BFGS", "relax_cell": True, "fmax": 1e-3, "smax": 1e-4}
    crystal = relax(bulk("Ar", "hcp", a=3.6, c=5.9), morse(), **settings).atoms
    crystal.set_cell(crystal.cell.array @ np.diag([1.02, 1.02, 1.02**-2]), scale_atoms=True)
    settings = {"relax": False, "points": 5}
    kept, relaxed = (eos(crystal, morse(), relax_shape=on, **settings) for on in (False, True))
    assert relaxed.volumes == pytest.approx(kept.volumes)
    assert (relaxed.energies < kept.energies - 1e-3).all()
    ratios = [frame.cell.lengths()[2] / frame.cell.lengths()[0] for frame in relaxed.frames]
    assert ratios == pytest.approx([(8 / 3) ** 0.5] * 5, rel=1e-3)  # close packed


def test_batches_are_single_structures():
    found = eos(argon(), morse(), points=5)
    for frame, energy in zip(found.frames, found.energies, strict=True):
        work = frame.copy()
        work.calc = morse()
        assert energy == pytest.approx(work.get_potential_energy(), abs=1e-9)


def test_a_minimum_beyond_the_volumes_is_an_error_that_says_what_to_widen():
    small, large = bulk("Cu", a=3.3), bulk("Cu", a=3.9)
    with pytest.raises(SimulationError, match=r"lowest at .* Å³. Raise expand"):
        eos(small, EMT(), relax=False)
    with pytest.raises(SimulationError, match="Raise compress"):
        eos(large, EMT(), relax=False)


def test_a_fit_whose_minimum_is_outside_is_refused(monkeypatch):
    def fit(self, warn=True):
        self.func, self.eos_parameters = birchmurnaghan, (-1.0, 1.0, 4.0, 99.0)

    monkeypatch.setattr("ase.eos.EquationOfState.fit", fit)
    with pytest.raises(SimulationError, match=r"lowest at 99.00 Å³. Raise expand"):
        fitted(np.linspace(10, 14, 7), np.abs(np.linspace(-1, 1, 7)), "birch-murnaghan")


def test_a_fit_that_fails_is_told(monkeypatch):
    def fail(self, warn=True):
        raise RuntimeError("Optimal parameters not found")

    monkeypatch.setattr("ase.eos.EquationOfState.fit", fail)
    with pytest.raises(SimulationError, match="'birch-murnaghan' cannot be fitted"):
        eos(bulk("Cu"), Vinet(), **FIXED)


class Kinked(Vinet):
    """Another phase in the middle of the curve."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] += 0.02 * (atoms.get_volume() > 12.4)


def test_a_curve_with_a_kink_deserves_a_warning():
    assert "perhaps the crystal changes its phase" in eos(bulk("Cu"), Kinked(), **FIXED).message


def test_relaxations_that_do_not_end_are_told():
    crystal = bulk("Cu", "hcp", a=2.54, c=4.15)
    crystal.positions[1, 2] += 0.1
    found = eos(crystal, EMT(), steps=1, points=5)
    assert found.reason == "max_steps"
    assert "the crystal is not relaxed" in found.message
    assert "volumes are not relaxed" in found.message


class Nothing(Vinet):
    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = np.nan


@pytest.mark.parametrize(
    ("structure", "calculator", "changes", "error", "match"),
    [
        (molecule("H2O"), EMT, {}, StructureError, "pbc = True in three directions"),
        (bulk("Cu"), Vinet, {}, ConfigError, "Vinet has none"),
        (bulk("Cu"), Vinet, {"relax": False, "relax_shape": True}, ConfigError, "Vinet has none"),
        (bulk("Cu"), EMT, {"compress": 0, "expand": 0}, ConfigError, "less than 1 %"),
        (
            bulk("Cu"),
            EMT,
            {"relax_ions": False, "relax_shape": True},
            ConfigError,
            "leave relax_ions on",
        ),
        (bulk("Cu"), EMT, {"equation": "linear"}, ConfigError, "birch-murnaghan"),
        (bulk("Cu"), Nothing, FIXED, SimulationError, "finite energies"),
    ],
)
def test_what_has_no_equation_of_state_is_refused(structure, calculator, changes, error, match):
    with pytest.raises(error, match=match):
        eos(structure, calculator(), **changes)


def test_a_constraint_is_refused():
    held = bulk("Cu")
    held.set_constraint(FixAtoms([0]))
    with pytest.raises(StructureError, match="got FixAtoms. Remove them"):
        eos(held, EMT())


def test_the_row_and_the_picture():
    found = eos(bulk("Cu"), Vinet(), EOSOptions(points=6), **FIXED)
    row = json.loads(json_bytes(plain(found.row())))
    assert row["bulk_modulus"] == pytest.approx(140, rel=0.02)
    assert len(row["volumes"]) == len(row["energies"]) == 6
    (axes,) = eos_figure(found).axes
    assert axes.lines[1].get_xdata() == pytest.approx(found.volumes)
