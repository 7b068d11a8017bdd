"""Molecular dynamics in batches: the same runs as one by one."""

import csv
import shutil

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import read

from matkit.calculator import MatkitCalculator
from matkit.errors import ConfigError, OutputExistsError
from matkit.simulate import MDFiles, md, md_many
from tests.simulate.morse import Morse

METHODS = [
    {"ensemble": "nve"},
    {"ensemble": "nvt"},
    {"ensemble": "nvt", "thermostat": "bussi"},
]
names = [str(method.get("thermostat", method["ensemble"])) for method in METHODS]


def calculator():
    return MatkitCalculator(Morse(), device="cpu", dtype="float64")


def crystals():
    found = [bulk("Cu", cubic=True), bulk("Cu", a=3.7) * (2, 1, 1), bulk("Ag", "fcc", a=3.6) * 2]
    molecule = Atoms("Cu3", [[0, 0, 0], [2.6, 0, 0], [0, 2.6, 0]])
    found[2].set_constraint(FixAtoms([0, 3]))
    return [*found, molecule]


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_every_run_is_that_of_ase(method):
    options = {**method, "steps": 25, "temperature": 500, "timestep": 2.0, "seed": 3}
    together = md_many(crystals(), calculator(), **options)
    for i, (atoms, one) in enumerate(zip(crystals(), together, strict=True)):
        alone = md(atoms, calculator(), **(options | {"seed": 3 + i}))
        assert (one.reason, one.steps) == ("done", 25)
        assert one.atoms.positions == pytest.approx(alone.atoms.positions, abs=1e-9)
        assert one.atoms.get_momenta() == pytest.approx(alone.atoms.get_momenta(), abs=1e-8)
        assert one.energy == pytest.approx(alone.energy, abs=1e-9)
        assert one.temperature == pytest.approx(alone.temperature, rel=1e-8)


def test_a_ramp_and_an_equilibration_are_those_of_ase():
    options = {"steps": 20, "temperature": 300, "temperature_end": 900, "equil_steps": 7}
    together = md_many(crystals(), calculator(), **options)
    for i, (atoms, one) in enumerate(zip(crystals(), together, strict=True)):
        alone = md(atoms, calculator(), seed=i, **options)
        assert one.atoms.positions == pytest.approx(alone.atoms.positions, abs=1e-9)


def test_the_energy_is_conserved():
    atoms = bulk("Cu", a=3.6, cubic=True)
    results = md_many(
        [atoms] * 4, calculator(), ensemble="nve", steps=300, stats_every=10, timestep=1.0
    )
    assert all(abs(result.drift) < 0.2 for result in results)
    assert len({result.energy for result in results}) == 4  # each has velocities of its own


def test_langevin_and_bussi_keep_the_temperature():
    atoms = bulk("Cu", a=3.6, cubic=True) * (2, 1, 1)
    for thermostat in ("langevin", "bussi"):
        temperatures = []
        results = md_many(
            [atoms] * 16,
            calculator(),
            thermostat=thermostat,
            steps=150,
            friction=0.1,
            temperature=400,
            timestep=3.0,
        )
        temperatures = [result.temperature for result in results]
        assert np.mean(temperatures) == pytest.approx(400, rel=0.2)


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_files_are_those_of_single_runs(tmp_path):
    options = {"steps": 20, "traj_every": 5, "stats_every": 4, "restart_every": 10}
    bases = [tmp_path / f"m{i}" for i in range(4)]
    md_many(crystals(), calculator(), files=MDFiles(bases), **options)
    for i, atoms in enumerate(crystals()):
        md(atoms, calculator(), out=tmp_path / "one", overwrite=True, seed=i, **options)
        for end in ("-traj.extxyz", "-stats.csv", "-restart.npz"):
            assert (tmp_path / f"m{i}{end}").exists()
        many, one = (rows(tmp_path / f"{name}-stats.csv") for name in (f"m{i}", "one"))
        assert [row.keys() for row in many] == [row.keys() for row in one]
        for a, b in zip(many, one, strict=True):
            assert [float(x) for x in a.values()] == pytest.approx(
                [float(x) for x in b.values()], abs=1e-4
            )
        frames = read(tmp_path / f"m{i}-traj.extxyz", ":")
        assert [frame.info["step"] for frame in frames] == [0, 5, 10, 15, 20]


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_runs_that_were_stopped_go_on_exactly(tmp_path, method):
    options = {**method, "traj_every": 5, "stats_every": 5, "restart_every": 10}
    whole = [tmp_path / f"whole{i}" for i in range(4)]
    md_many(crystals(), calculator(), files=MDFiles(whole), steps=30, **options)
    parts = [tmp_path / f"part{i}" for i in range(4)]

    def stop(step, _steps):
        if step == 17:
            raise KeyboardInterrupt

    stopped = md_many(
        crystals(), calculator(), files=MDFiles(parts), steps=30, on_step=stop, **options
    )
    assert [r.reason for r in stopped] == ["interrupted"] * 4
    results = md_many(
        crystals(), calculator(), files=MDFiles(parts, restart="auto"), steps=30, **options
    )
    assert [r.restarted_from for r in results] == [10] * 4
    for a, b in zip(whole, parts, strict=True):
        for end in ("-traj.extxyz", "-stats.csv"):
            one, two = (base.with_name(base.name + end).read_text() for base in (a, b))
            assert one == two


def test_runs_at_different_steps_go_on_together(tmp_path):
    bases = [tmp_path / f"m{i}" for i in range(2)]
    options = {"restart_every": 5, "temperature": 300, "temperature_end": 600, "steps": 20}
    atoms = bulk("Cu", cubic=True)
    whole = md_many([atoms] * 2, calculator(), files=MDFiles(bases), **options)
    behind = md(atoms, calculator(), seed=1, out=tmp_path / "one", **options)
    assert behind.energy == pytest.approx(whole[1].energy, abs=1e-8)
    for base in bases:
        base.with_name(f"{base.name}-restart.npz").unlink()

    def stop(step, _steps):
        if step == 12:
            raise KeyboardInterrupt

    md_many(
        [atoms] * 2, calculator(), files=MDFiles(bases, overwrite=True), on_step=stop, **options
    )
    ahead = MDFiles(bases, restart="auto")
    shutil.copy(tmp_path / "one-restart.npz", tmp_path / "m1-restart.npz")  # of step 20
    for end in ("-traj.extxyz", "-stats.csv"):
        shutil.copy(tmp_path / f"one{end}", tmp_path / f"m1{end}")
    results = md_many([atoms] * 2, calculator(), files=ahead, **options)
    assert [r.restarted_from for r in results] == [10, 20]
    assert [r.energy for r in results] == pytest.approx([r.energy for r in whole], abs=1e-7)


def test_one_that_explodes_costs_only_itself(tmp_path):
    hot = bulk("Cu", cubic=True)
    hot.set_momenta(np.full((4, 3), 30.0) * [[1, 1, 1], [-1, 1, 1], [1, -1, 1], [-1, -1, -3]])
    near = Atoms("Cu2", [[0, 0, 0], [0, 0, 0.4]], cell=np.eye(3) * 9, pbc=True)
    unknown = bulk("Au")
    structures = [bulk("Cu", cubic=True), hot, near, unknown, bulk("Cu", a=3.7) * 2]
    bases = [tmp_path / f"m{i}" for i in range(5)]
    results = md_many(
        structures, calculator(), files=MDFiles(bases), steps=30, max_temperature=4000
    )
    assert [r.reason for r in results] == ["done", "exploded", "too_close", "error", "done"]
    assert "does not know Au" in results[3].message
    assert "above 4000 K" in results[1].message
    assert (tmp_path / "m0-stats.csv").exists()


def test_what_batches_do_not_know_runs_alone():
    atoms = bulk("Cu", cubic=True)
    options = {"steps": 5, "thermostat": "nose-hoover"}
    chains = md_many([atoms] * 2, calculator(), **options)
    assert chains[1].energy == md(atoms, calculator(), seed=1, **options).energy
    assert [r.reason for r in md_many([atoms] * 2, EMT(), steps=5)] == ["done"] * 2


def test_minimisation_comes_first():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.2, seed=1)
    options = {"steps": 4, "minimize": True, "temperature": 10}
    together = md_many([atoms, bulk("Au")], calculator(), **options)
    alone = md(atoms, calculator(), **options)
    assert together[0].atoms.positions == pytest.approx(alone.atoms.positions, abs=1e-6)
    assert together[1].reason == "error"


def test_old_files_are_not_replaced(tmp_path):
    files = MDFiles([tmp_path / "a", tmp_path / "b"])
    atoms = bulk("Cu", cubic=True)
    md_many([atoms] * 2, calculator(), files=files, steps=2)
    with pytest.raises(OutputExistsError, match="a-traj"):
        md_many([atoms] * 2, calculator(), files=files, steps=2)
    again = MDFiles(files.bases, overwrite=True)
    assert md_many([atoms] * 2, calculator(), files=again, steps=2)[0].converged


def test_numbers_of_names_and_seeds_must_fit(tmp_path):
    with pytest.raises(ConfigError, match="names of files as structures, 2; got 1"):
        md_many([bulk("Cu")] * 2, calculator(), files=MDFiles([tmp_path / "a"]))
    with pytest.raises(ConfigError, match="seeds as structures, 2; got 1"):
        md_many([bulk("Cu")] * 2, calculator(), seeds=[1])


def test_seeds_may_be_given():
    atoms = bulk("Cu", cubic=True)
    results = md_many([atoms] * 2, calculator(), seeds=[7, 7], steps=3)
    assert results[0].energy == results[1].energy
    assert results[0].energy == pytest.approx(md(atoms, calculator(), seed=7, steps=3).energy)


def test_the_unit_of_time_is_that_of_ase():
    """A free atom moves by its velocity times the time."""
    atom = Atoms("Cu", cell=np.eye(3) * 20, pbc=False)
    atom.set_velocities([[0.01 / units.fs, 0, 0]])
    (result,) = md_many([atom], calculator(), ensemble="nve", steps=10, timestep=2.0)
    assert result.atoms.positions[0] == pytest.approx([0.2, 0, 0])


def test_a_committee_records_its_deviations(tmp_path):
    def committee():
        members = [Morse(), Morse(depth=0.5)]
        return MatkitCalculator(members, device="cpu", dtype="float64")

    options = {"steps": 10, "stats_every": 5, "traj_every": 5}
    bases = [tmp_path / "m0", tmp_path / "m1"]
    together = md_many([bulk("Cu", cubic=True)] * 2, committee(), files=MDFiles(bases), **options)
    one = md(bulk("Cu", cubic=True), committee(), out=tmp_path / "one", **options)
    assert together[0].max_forces_std == pytest.approx(one.max_forces_std)
    many, alone = rows(tmp_path / "m0-stats.csv"), rows(tmp_path / "one-stats.csv")
    assert many[-1].keys() == alone[-1].keys()
    assert "energy_std_eV" in many[-1]
