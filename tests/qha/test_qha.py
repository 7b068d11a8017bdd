"""The quasi-harmonic approximation against phonons at single volumes and thermodynamics."""

import json
import sys

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from matkit.errors import ConfigError, MissingExtraError, SimulationError, StructureError
from matkit.phonons import phonons
from matkit.qha import QHAOptions, qha
from matkit.qha.figures import qha_figure
from matkit.report.json_files import json_bytes, plain
from matkit.simulate import relax
from matkit.units import GPA
from tests.phonons.lattice import argon, morse

QUICK = {
    "min_length": 5.0,
    "mesh": 15.0,
    "max_temperature": 300.0,
    "points": 6,
    "relax_ions": False,  # no force is left by symmetry
}


@pytest.fixture(scope="module")
def found():
    return qha(argon(), morse(), **QUICK)


def test_the_free_energy_at_a_volume_is_the_one_of_its_phonons(found):
    rest = relax(argon(), morse(), relax_cell=True, optimizer="BFGS", fmax=1e-4, smax=1e-5).atoms
    place = 2
    rest.set_cell(rest.cell * np.cbrt(found.volumes[place] / rest.get_volume()), scale_atoms=True)
    alone = phonons(rest, morse(), relax=False, min_length=5.0, mesh=15.0, max_temperature=300.0)
    assert alone.supercell == found.supercell
    expected = alone.energy + alone.thermal.free_energy[: len(found.temperatures)]
    assert found.free_energies[:, place] == pytest.approx(expected, abs=1e-5)


def test_the_volume_is_where_the_free_energy_is_lowest(found):
    for i in (0, 10, 25):
        fit = np.polynomial.Polynomial.fit(found.volumes, found.free_energies[i], 4)
        roots = [r.real for r in fit.deriv().roots() if abs(r.imag) < 1e-9]
        nearest = min(roots, key=lambda root: abs(root - found.volume[i]))
        assert found.volume[i] == pytest.approx(nearest, rel=1e-3)
        assert found.gibbs[i] == pytest.approx(fit(nearest), abs=1e-4)


def test_the_laws_of_thermodynamics_hold(found):
    """``S = -dG/dT``, ``β = dV/dT / V``, and ``C_P = T dS/dT``."""
    t = found.temperatures
    hot = slice(8, -2)
    assert -np.gradient(found.gibbs, t)[hot] == pytest.approx(found.entropy[hot], rel=0.01)
    slope = np.gradient(found.volume, t) / found.volume
    assert slope[hot] == pytest.approx(found.expansion[hot], rel=0.02)
    heat = t * np.gradient(found.entropy, t)
    assert heat[hot] == pytest.approx(found.heat_capacity[hot], rel=0.02)
    assert found.expansion[0] == found.heat_capacity[0] == 0
    assert (np.diff(found.expansion) > 0).all()  # without noise


def test_the_heat_capacities_differ_as_they_must(found):
    alone = phonons(found.atoms, morse(), relax=False, min_length=5.0, mesh=15.0)
    at_volume = np.interp(300, alone.thermal.temperatures, alone.thermal.heat_capacity)
    values = {name: getattr(found, name)[-1] for name in ("expansion", "bulk_modulus", "volume")}
    difference = values["expansion"] ** 2 * values["bulk_modulus"] * values["volume"] * 300
    assert found.heat_capacity[-1] - at_volume == pytest.approx(difference, rel=0.15)


def test_a_crystal_expands_and_softens_when_it_is_heated(found):
    assert (found.reason, found.message) == ("converged", "")
    assert found.temperatures[-1] == pytest.approx(300)
    assert (found.expansion[5:] > 0).all()
    assert found.bulk_modulus[-1] < found.bulk_modulus[0]
    at_rest = found.atoms.get_volume()
    assert found.volume[0] > at_rest  # zero-point motion
    assert found.at(0)["bulk_modulus"] == pytest.approx(found.bulk_modulus[0] / GPA)


def test_a_conventional_cell_is_given_by_its_primitive_one(found):
    cubic = bulk("Ar", "fcc", a=5.3, cubic=True)
    again = qha(cubic, morse(), **QUICK | {"min_length": 3.0})
    assert (again.supercell, found.supercell) == ((1, 1, 1), (2, 2, 2))
    assert (again.primitive_atoms, found.primitive_atoms) == (1, 1)
    assert again.volume[-1] == pytest.approx(found.volume[-1], rel=0.01)


def test_the_supercell_is_the_same_at_all_volumes(found):
    """Else the free energy would jump over the volume."""
    height = found.atoms.get_volume() / np.linalg.norm(np.cross(*found.atoms.cell[:2]))
    length = 1.99 * height  # two cells are enough, but not at the smallest volume
    narrow = qha(argon(), morse(), **QUICK | {"min_length": length, "max_temperature": 50.0})
    assert narrow.supercell == (3, 3, 3)
    roughness = np.polynomial.Polynomial.fit(narrow.volumes, narrow.free_energies[0], 4)
    assert roughness(narrow.volumes) == pytest.approx(narrow.free_energies[0], abs=2e-5)


def test_volumes_with_imaginary_modes_are_left_out_and_named():
    result = qha(argon(), morse(), **QUICK | {"expand": 0.6, "points": 10})
    assert "volumes with imaginary modes are left out:" in result.message
    assert "i THz)" in result.message
    assert len(result.volumes) < 10


def test_too_few_stable_volumes_are_an_error():
    with pytest.raises(SimulationError, match="Expected at least 5 volumes without imaginary"):
        qha(argon(), morse(), **QUICK | {"expand": 1.5, "points": 5})


def test_temperatures_beyond_the_volumes_are_cut_off_and_told():
    more = {"expand": 0.02, "max_temperature": 2000.0, "temperature_step": 50.0}
    result = qha(argon(), morse(), **QUICK | more)
    assert "raise expand for higher temperatures" in result.message
    assert result.temperatures[-1] < 2000
    assert (result.volume < result.volumes.max()).all()


def test_volumes_beside_the_minimum_are_an_error():
    squeezed = argon()
    squeezed.set_cell(squeezed.cell * 0.9, scale_atoms=True)
    with pytest.raises(SimulationError, match="Raise|No equation of state"):
        qha(squeezed, morse(), relax=False, **QUICK)


def test_a_fit_that_fails_is_told(monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("no fit")

    monkeypatch.setattr("phonopy.run_qha", fail)
    with pytest.raises(SimulationError, match=r"No equation of state fits .*ValueError: no fit"):
        qha(argon(), morse(), **QUICK | {"points": 5})


def test_without_phonopy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(MissingExtraError, match=r"matkit\[phonons\]"):
        qha(argon(), morse())


def test_what_has_no_volume_is_refused():
    with pytest.raises(StructureError, match="pbc = True in three directions"):
        qha(molecule("H2O"), EMT())
    with pytest.raises(ConfigError, match="Unknown Hessian method|method"):
        qha(argon(), morse(), method="guess")
    with pytest.raises(ConfigError, match="greater than or equal to 5"):
        qha(argon(), morse(), points=4)


def test_options_of_phonons_are_handed_on():
    options = QHAOptions(min_length=12.0, fmax=1e-5, imaginary=0.2).phonons()
    assert (options.min_length, options.fmax, options.imaginary) == (12.0, 1e-5, 0.2)
    assert options.relax is False


def test_the_row_and_the_picture(found):
    row = json.loads(json_bytes(plain(found.row())))
    assert row["temperature"] == 300
    assert row["volume"] == pytest.approx(found.volume[-1])
    assert len(qha_figure(found).axes) == 5
