"""What a committee says of its uncertainty, in results and files."""

import csv

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read

from matkit import md, relax, singlepoint
from matkit.calculator import MatkitCalculator
from matkit.simulate.frames import freeze
from tests.derivatives.test_choice import Springs


@pytest.fixture
def atoms():
    crystal = bulk("Al", a=4.0, cubic=True)
    crystal.rattle(0.05, seed=3)
    return crystal


def springs(*weights):
    members = []
    for weight in weights:
        member = Springs({"atom_energy"})
        member.weight.data.fill_(weight)
        members.append(member)
    return MatkitCalculator(members, "cpu", "float64")


def test_a_single_point_holds_the_deviations(atoms):
    result = singlepoint(atoms, springs(1.0, 1.2, 1.4))
    one = singlepoint(atoms, springs(1.0))
    # Springs are linear in their weight, of which the deviation is that of 1, 1.2 and 1.4.
    deviation = np.std([1.0, 1.2, 1.4])
    assert result.atoms.info["energy_std"] == pytest.approx(deviation * abs(one.energy))
    assert result.atoms.arrays["forces_std"] == pytest.approx(deviation * np.abs(one.forces))
    assert result.atoms.info["stress_std"] == pytest.approx(deviation * np.abs(one.stress))
    row = result.row()
    assert row["energy_std"] == pytest.approx(deviation * abs(one.energy))
    assert row["max_forces_std"] == pytest.approx(deviation * one.max_force)
    assert "energy_std" not in one.row()


def test_a_relaxed_structure_holds_them(atoms):
    result = relax(atoms, springs(1.0, 1.2), steps=3)
    assert result.row()["max_forces_std"] > 0


def test_those_of_an_earlier_committee_do_not_stay(atoms):
    before = singlepoint(atoms, springs(1.0, 1.2)).atoms
    before.calc = springs(1.0)
    after = freeze(before)
    assert "energy_std" not in after.info
    assert "forces_std" not in after.arrays


def test_dynamics_write_them(atoms, tmp_path):
    options = {"ensemble": "nve", "stats_every": 2, "traj_every": 2, "restart_every": 2}
    out = tmp_path / "al"
    first = md(atoms, springs(1.0, 1.2), steps=4, out=out, **options)
    result = md(atoms, springs(1.0, 1.2), steps=6, out=out, restart="auto", **options)
    with (tmp_path / "al-stats.csv").open() as file:
        rows = list(csv.DictReader(file))
    column = [float(row["max_forces_std_eV_A"]) for row in rows]
    assert len(column) == 4
    assert first.max_forces_std == pytest.approx(max(column[:3]))
    assert result.row()["max_forces_std"] == pytest.approx(max(column))
    frames = read(tmp_path / "al-traj.extxyz", ":")
    assert all("forces_std" in frame.arrays and "energy_std" in frame.info for frame in frames)


def test_a_single_model_has_no_columns_of_deviations(atoms, tmp_path):
    result = md(atoms, springs(1.0), steps=1, out=tmp_path / "al")
    assert result.max_forces_std is None
    assert "std" not in (tmp_path / "al-stats.csv").read_text()
