import json
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.phonons import Phonons
from phonopy import Phonopy

from matkit.errors import ConfigError, SimulationError, StructureError
from matkit.phonons import phonons
from matkit.phonons.figures import phonon_figure, tick_names
from matkit.phonons.force_constants import many_forces, sum_rule_violation
from matkit.phonons.path import Segment, band_path
from matkit.phonons.supercell import multiples
from tests.phonons.lattice import argon, morse, springs
from tests.simulate.calculators import Springs as Misbehaving

QUICK = {"min_length": 8.0, "mesh": 20.0, "band_points": 11}
K = 0.5  # eV/Å², constant of `springs`


@pytest.fixture(scope="module")
def relaxed():
    """Argon of a pair potential, by finite differences."""
    return phonons(argon(), morse(), **QUICK)


def at(result, *qpoints) -> np.ndarray:
    """Frequencies [Q, M] in THz at q-points in units of the primitive reciprocal vectors."""
    found = result.phonopy.run_qpoints(np.array(qpoints))
    return found.frequencies


def terahertz(square: float) -> float:
    """THz of an angular frequency whose square is given in eV/(Å² amu)."""
    return np.sqrt(square * units._e * 1e20 / units._amu) / (2e12 * np.pi)


def test_fcc_of_springs_in_closed_form():
    """Along Γ-X and at L of nearest-neighbour springs (Ashcroft and Mermin, problem 22.2)."""
    result = phonons(argon(), springs(), relax=False, **QUICK)
    mass = argon().get_masses()[0]
    transverse, longitudinal = terahertz(4 * K / mass), terahertz(8 * K / mass)
    x, half, zone = at(result, [0.5, 0.5, 0], [0.25, 0.25, 0], [0.5, 0.5, 0.5])
    assert x == pytest.approx([transverse, transverse, longitudinal], rel=1e-4)
    assert half == pytest.approx(
        np.array([transverse, transverse, longitudinal]) / 2**0.5, rel=1e-3
    )
    assert zone == pytest.approx([terahertz(2 * K / mass)] * 2 + [longitudinal], rel=1e-4)
    assert result.max_frequency == pytest.approx(longitudinal, rel=1e-4)


def test_autograd_agrees_with_finite_differences(relaxed):
    exact = phonons(relaxed.atoms, morse(), relax=False, method="autograd", **QUICK)
    assert (exact.displacements, relaxed.displacements) == (0, 1)
    for a, b in zip(exact.bands.frequencies, relaxed.bands.frequencies, strict=True):
        assert a == pytest.approx(b, abs=2e-3)
    assert exact.drift < 1e-12
    free = exact.thermal.free_energy
    assert free == pytest.approx(relaxed.thermal.free_energy, abs=1e-4)


def test_as_phonopy_finds(relaxed):
    """Phonopy's own route, with forces from the calculator one supercell after another."""
    cell = relaxed.phonopy.unitcell
    matrix = np.diag(relaxed.supercell)
    oracle = Phonopy(cell, matrix, primitive_matrix=relaxed.phonopy.primitive_matrix)
    oracle.generate_displacements(distance=0.01)
    forces = []
    for displaced in oracle.supercells_with_displacements:
        atoms = Atoms(displaced.symbols, displaced.positions, cell=displaced.cell, pbc=True)
        atoms.calc = morse()
        forces.append(atoms.get_forces())
    oracle.forces = forces
    oracle.produce_force_constants(show_drift=False)
    qpoints = np.random.default_rng(0).random((10, 3))
    expected = oracle.run_qpoints(qpoints).frequencies
    assert at(relaxed, *qpoints) == pytest.approx(expected, abs=1e-4)


def test_as_ase_finds(tmp_path):
    """ASE's own phonons of copper at q-points that fit into the supercell."""
    copper = bulk("Cu")
    result = phonons(copper, EMT(), relax=False, **QUICK)
    assert result.supercell == (4, 4, 4)
    name = str(tmp_path / "phonon")
    oracle = Phonons(copper, EMT(), supercell=result.supercell, delta=0.01, name=name)
    oracle.run()
    oracle.read(acoustic=True)
    qpoints = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0.5], [0.25, 0, 0], [0.25, 0.5, 0.75]])
    expected = oracle.band_structure(qpoints) / (units._hplanck / units._e * 1e12)
    assert at(result, *qpoints) == pytest.approx(expected, abs=2e-3)


def test_batches_are_single_structures():
    cells = [argon().repeat(2) for _ in range(3)]
    for i, cell in enumerate(cells):
        cell.rattle(0.02, seed=i)
    found = many_forces(cells, morse())
    for cell, forces in zip(cells, found, strict=True):
        cell.calc = morse()
        assert forces == pytest.approx(cell.get_forces(), abs=1e-10)


def test_the_crystal_is_relaxed_first(relaxed):
    assert (relaxed.reason, relaxed.message) == ("converged", "")
    assert relaxed.max_stress < 1e-5
    assert relaxed.atoms.cell.lengths()[0] != pytest.approx(argon().cell.lengths()[0], abs=0.01)


def test_translations_cost_nothing(relaxed):
    assert sum_rule_violation(relaxed.phonopy) < 1e-12
    assert np.abs(at(relaxed, [0, 0, 0])).max() < 1e-3
    assert relaxed.drift < 1e-3


def test_states_and_heat_capacity_have_their_limits(relaxed):
    dos = relaxed.dos
    assert np.trapezoid(dos.density, dos.frequencies) == pytest.approx(3, rel=0.02)
    thermal = relaxed.thermal
    assert thermal.temperatures[-1] == 1000
    assert thermal.heat_capacity[-1] == pytest.approx(3 * units.kB, rel=0.01)
    assert thermal.entropy[0] == thermal.heat_capacity[0] == 0
    slope = np.gradient(thermal.free_energy, thermal.temperatures)
    assert slope[10:-1] == pytest.approx(-thermal.entropy[10:-1], rel=5e-3)


def test_isotopes():
    heavy = argon()
    heavy.set_masses(4 * heavy.get_masses())
    options = {"relax": False, **QUICK}
    light = phonons(argon(), morse(), **options)
    assert phonons(heavy, morse(), **options).max_frequency == pytest.approx(
        light.max_frequency / 2, rel=1e-6
    )


def test_a_crystal_of_several_atoms_has_the_bands_of_its_primitive_cell(relaxed):
    cubic = bulk("Ar", "fcc", a=5.3, cubic=True)
    result = phonons(cubic, morse(), **(QUICK | {"min_length": 10.0}))
    assert (result.supercell, len(result.phonopy.primitive)) == ((2, 2, 2), 1)
    assert result.max_frequency == pytest.approx(relaxed.max_frequency, rel=0.02)


def test_imaginary_modes_are_named():
    """A simple cubic crystal of springs does not resist shear; under pressure it gives way."""
    cubic = Atoms("Ar", cell=[3.5] * 3, pbc=True)
    result = phonons(cubic, springs(), relax=False, **QUICK)
    lowest = result.imaginary[0]
    assert lowest.frequency == min(mode.frequency for mode in result.imaginary)
    assert at(result, lowest.q).min() == pytest.approx(lowest.frequency, abs=1e-6)
    assert lowest.name in {"X", "M", "R"}
    assert f"q-points, the lowest {-lowest.frequency:.3f}i THz at q = (" in result.message
    assert result.row()["imaginary"] == len(result.imaginary)


def test_a_structure_that_is_not_relaxed_is_said():
    start = argon() * (2, 1, 1)
    start.positions[0, 0] += 0.1
    result = phonons(start, morse(), relax=False, **QUICK)
    assert result.reason == "done"
    assert "not relaxed: the largest force is" in result.message
    stopped = phonons(argon(), morse(), steps=0, **QUICK)
    assert (stopped.reason, stopped.converged) == ("max_steps", False)
    assert "largest stress" in stopped.message


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (molecule("H2O"), "matkit vibrations"),
        (Atoms("Ar", cell=[3, 3, 9], pbc=[True, True, False]), "got \\[True, True, False\\]"),
        (Atoms("Ar", cell=[4, 4, 4], pbc=True, constraint=FixAtoms([0])), "got FixAtoms"),
        (Atoms(pbc=True), "empty"),
    ],
)
def test_structures_that_are_refused(atoms, message):
    with pytest.raises(StructureError, match=message):
        phonons(atoms, morse())


def test_methods_that_are_not_offered():
    with pytest.raises(ConfigError, match="EMT has no Hessian by method 'autograd'"):
        phonons(bulk("Cu"), EMT(), method="autograd")


def test_failures():
    calc = Misbehaving(fail_at=2, failure="nan")
    with pytest.raises(SimulationError, match="Expected finite forces"):
        phonons(argon(), calc, relax=False, **QUICK)


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [("nan", SimulationError, "ended with 'nan'"), ("interrupt", KeyboardInterrupt, None)],
)
def test_failing_relaxations(monkeypatch, failure, error, message):
    calc = morse()
    original = calc.calculate

    def calculate(*args, **kwargs):
        if failure == "interrupt":
            raise KeyboardInterrupt
        original(*args, **kwargs)
        calc.results["forces"] = calc.results["forces"] * np.nan

    monkeypatch.setattr(calc, "calculate", calculate)
    with pytest.raises(error, match=message):
        phonons(argon(), calc, **QUICK)


def test_the_supercell_is_long_enough():
    atoms = bulk("Cu")  # opposite faces of the primitive cell are a / sqrt(3) apart
    assert multiples(atoms, 3.61 / 3**0.5) == [1, 1, 1]
    assert multiples(atoms, 3.62 / 3**0.5) == [2, 2, 2]
    assert multiples(Atoms("Ar", cell=[3, 4, 11], pbc=True), 10.0) == [4, 3, 1]


def test_path():
    from matkit.phonons import PhononsOptions
    from matkit.phonons.supercell import make_phonopy

    primitive = make_phonopy(bulk("Cu"), PhononsOptions()).primitive
    segments = band_path(primitive, 21)
    names = [(segment.start, segment.end) for segment in segments]
    assert names[:2] == [("Γ", "X"), ("X", "U")]
    assert max(len(segment.qpoints) for segment in segments) == 21
    assert min(len(segment.qpoints) for segment in segments) >= 2
    assert not segments[0].qpoints[0].any()


def test_figure(relaxed):
    figure = phonon_figure(relaxed)
    assert len(figure.axes) == 3
    assert figure.axes[0].get_xticklabels()[0].get_text() == "Γ"
    line = np.zeros((2, 3))
    parts = [Segment("Γ", "X", line), Segment("X", "U", line), Segment("K", "Γ", line)]
    assert tick_names(parts) == ["Γ", "X", "U|K", "Γ"]


def test_rows_are_json(relaxed):
    row = json.loads(json.dumps(relaxed.row(), allow_nan=False))
    assert row["supercell"] == [3, 3, 3]
    assert row["imaginary"] == 0
    assert row["zero_point_energy"] > 0


@pytest.mark.parametrize("package", ["phonopy", "seekpath"])
def test_a_missing_package_is_said(package):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from ase.build import bulk; from ase.calculators.emt import EMT\n"
        "from matkit.phonons import phonons\n"
        "phonons(bulk('Cu'), EMT(), min_length=4, relax=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtraError: " in done.stderr
    assert 'pip install "matkit[phonons]"' in done.stderr


def test_unknown_names_of_the_package():
    with pytest.raises(AttributeError, match="has no attribute 'phononz'"):
        import_module("matkit.phonons").phononz  # noqa: B018
