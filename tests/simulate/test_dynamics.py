import csv

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import read

from matkit.errors import ConfigError, OutputExistsError, StructureError
from matkit.simulate import md
from tests.simulate.calculators import Springs

METHODS = {
    "nve": {"ensemble": "nve"},
    "langevin": {"thermostat": "langevin"},
    "bussi": {"thermostat": "bussi"},
    "nose-hoover": {"thermostat": "nose-hoover"},
    "npt": {"ensemble": "npt"},
}


def copper(repeat=2):
    return bulk("Cu", cubic=True).repeat((repeat, 1, 1))


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_and_writes(method, tmp_path):
    seen = []
    options = {"steps": 20, "stats_every": 5, "traj_every": 10, **METHODS[method]}
    result = md(copper(), EMT(), out=tmp_path / "cu", on_step=seen.append, **options)
    assert (result.reason, result.steps, result.converged) == ("done", 20, True)
    assert result.steps_per_second > 0
    assert result.last_good is None
    assert [state.step for state in seen] == list(range(21))
    table = rows(tmp_path / "cu-stats.csv")
    assert [int(row["step"]) for row in table] == [0, 5, 10, 15, 20]
    assert [row["time_fs"] for row in table] == ["0", "5", "10", "15", "20"]
    assert float(table[-1]["potential_eV"]) == pytest.approx(result.energy)
    assert float(table[-1]["temperature_K"]) == pytest.approx(result.temperature, abs=1e-3)
    frames = read(tmp_path / "cu-traj.extxyz", ":")
    assert [frame.info["step"] for frame in frames] == [0, 10, 20]
    assert frames[-1].get_momenta() == pytest.approx(result.atoms.get_momenta(), abs=1e-7)
    moved = np.ptp([float(row["volume_A3"]) for row in table]) > 0
    assert moved == (method == "npt")


def test_the_input_is_not_changed():
    atoms = copper()
    before = atoms.copy()
    md(atoms, EMT(), steps=3, minimize=True)
    assert atoms == before
    assert atoms.calc is None
    assert "momenta" not in atoms.arrays


def test_without_a_name_no_file_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert md(copper(), EMT(), steps=3).converged
    assert not list(tmp_path.iterdir())


def test_nve_conserves_the_energy_and_reports_the_drift(tmp_path):
    atoms = bulk("Cu", cubic=True).repeat(2)
    options = {"ensemble": "nve", "timestep": 2.0, "steps": 200, "stats_every": 5}
    result = md(atoms, EMT(), out=tmp_path / "cu", **options)
    table = rows(tmp_path / "cu-stats.csv")
    energies = np.array([float(row["total_eV"]) for row in table])
    times = np.array([float(row["time_fs"]) for row in table])
    slope = np.polyfit(times / 1000, energies / 32 * 1000, 1)[0]
    assert result.drift == pytest.approx(slope, rel=1e-6)
    assert abs(result.drift) < 0.1
    assert np.abs(energies - energies[0]).max() / 32 < 1e-4


def test_drift_needs_nve_and_three_rows():
    assert md(copper(), EMT(), steps=10, stats_every=2).drift is None
    assert md(copper(), EMT(), steps=10, stats_every=10, ensemble="nve").drift is None
    assert md(copper(), EMT(), steps=10, stats_every=5, ensemble="nve").drift is not None


@pytest.mark.parametrize(
    "thermostat",
    ["bussi", *(pytest.param(x, marks=pytest.mark.slow) for x in ("langevin", "nose-hoover"))],
)
def test_thermostats_reach_the_temperature(thermostat):
    atoms = bulk("Cu", cubic=True).repeat(2)
    temperatures = []
    md(
        atoms,
        EMT(),
        thermostat=thermostat,
        temperature=600,
        timestep=5,
        friction=0.02,
        steps=600,
        on_step=lambda state: temperatures.append(state.temperature),
    )
    assert np.mean(temperatures[150:]) == pytest.approx(600, rel=0.2)


@pytest.mark.slow
def test_npt_follows_the_pressure():
    gpa = 1 / 160.21766208
    options = {"ensemble": "npt", "timestep": 4, "steps": 400, "barostat_time": 100}
    free = md(bulk("Cu", cubic=True), EMT(), **options)
    pressed = md(bulk("Cu", cubic=True), EMT(), pressure=20 * gpa, **options)
    assert pressed.atoms.get_volume() < 0.95 * free.atoms.get_volume()


def test_the_seed_decides():
    runs = [md(copper(), EMT(), steps=10, seed=seed).atoms.positions for seed in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.allclose(runs[0], runs[2])


def test_momenta_of_the_input_are_used():
    atoms = copper()
    atoms.set_momenta(np.eye(8, 3))
    assert np.array_equal(md(atoms, EMT(), steps=0).atoms.get_momenta(), atoms.get_momenta())


def test_no_pressure_without_stress(tmp_path):
    md(molecule("H2O"), Springs(), steps=10, stats_every=5, out=tmp_path / "w")
    assert "pressure_GPa" not in rows(tmp_path / "w-stats.csv")[0]


def test_minimize_relaxes_first():
    atoms = copper()
    atoms.rattle(0.2, seed=0)
    plain = md(atoms, EMT(), steps=0, temperature=0.0)
    relaxed = md(atoms, EMT(), steps=0, temperature=0.0, minimize=True)
    assert relaxed.energy < plain.energy - 1


def test_equilibration_is_not_recorded(tmp_path):
    options = {"steps": 10, "stats_every": 5, "ensemble": "nve", "temperature": 900.0}
    result = md(copper(), EMT(), equil_steps=50, out=tmp_path / "cu", **options)
    table = rows(tmp_path / "cu-stats.csv")
    assert [int(row["step"]) for row in table] == [0, 5, 10]
    assert float(table[0]["temperature_K"]) != pytest.approx(900, abs=1)
    assert result.steps == 10


def test_fixed_atoms_stay():
    slab = fcc111("Cu", (2, 2, 2), vacuum=5.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() == 2))
    result = md(slab, EMT(), steps=20)
    assert result.converged
    assert np.array_equal(result.atoms.positions[:4], slab.positions[:4])
    assert not np.allclose(result.atoms.positions[4:], slab.positions[4:])


@pytest.mark.parametrize("failure", ["nan", "nan energy"])
def test_nan_stops_with_the_last_good_frame(failure, tmp_path):
    calc = Springs(fail_at=26, failure=failure)
    result = md(molecule("H2O"), calc, steps=100, ensemble="nve", out=tmp_path / "w")
    assert (result.reason, result.converged) == ("nan", False)
    assert result.steps == 20
    assert "not a number" in result.message
    assert result.last_good == tmp_path / "w-last-good.extxyz"
    saved = read(result.last_good)
    assert saved.info["step"] == 20
    assert saved.positions == pytest.approx(result.atoms.positions, abs=1e-7)
    assert np.isfinite(result.atoms.positions).all()


def test_an_exploding_temperature_stops():
    calc = Springs(fail_at=26, failure="kick")
    result = md(molecule("H2O"), calc, steps=100, ensemble="nve")
    assert result.reason == "exploded"
    assert "above 3000 K (max_temperature)" in result.message


def test_the_temperature_limit_can_be_set():
    result = md(copper(), EMT(), temperature=300, max_temperature=200)
    assert (result.reason, result.steps) == ("exploded", 0)
    assert np.isnan(result.energy)


def test_atoms_too_close_stop():
    atoms = Atoms("Cu2", positions=[[0, 0, 0], [1.5, 0, 0]])
    atoms.set_velocities([[0.3, 0, 0], [-0.3, 0, 0]])
    result = md(atoms, Springs(constant=0.0), steps=100, ensemble="nve", max_temperature=1e7)
    assert result.reason == "too_close"
    assert "atoms 0 and 1 are" in result.message
    assert result.atoms.get_distance(0, 1) > 0.5


def test_atoms_too_close_across_the_boundary_stop_at_once():
    atoms = Atoms("Cu2", positions=[[0.1, 0, 0], [4.9, 0, 0]], cell=[5, 5, 5], pbc=True)
    result = md(atoms, Springs(), steps=10)
    assert (result.reason, result.steps) == ("too_close", 0)
    assert md(atoms, Springs(), steps=10, min_distance=0.0).converged


def test_an_interrupted_run_keeps_what_it_has(tmp_path):
    calc = Springs(fail_at=26, failure="interrupt")
    result = md(molecule("H2O"), calc, steps=100, ensemble="nve", stats_every=1, out=tmp_path / "w")
    assert (result.reason, result.steps) == ("interrupted", 20)
    assert [int(row["step"]) for row in rows(tmp_path / "w-stats.csv")] == list(range(24))


def test_an_error_of_the_calculator_keeps_what_it_has(tmp_path):
    calc = Springs(fail_at=26, failure="error")
    result = md(molecule("H2O"), calc, steps=100, ensemble="nve", out=tmp_path / "w")
    assert (result.reason, result.steps) == ("error", 20)
    assert "RuntimeError: out of memory" in result.message
    assert result.last_good.exists()


def test_an_error_at_once_is_raised(tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"):
        md(molecule("H2O"), Springs(fail_at=1, failure="error"), out=tmp_path / "w")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", [{"minimize": True}, {"equil_steps": 50}])
@pytest.mark.parametrize("failure", ["nan", "interrupt"])
def test_failures_before_the_first_step(stage, failure):
    calc = Springs(fail_at=4, failure=failure)
    result = md(molecule("H2O"), calc, steps=10, **stage)
    assert result.reason == ("nan" if failure == "nan" else "interrupted")
    assert result.steps == 0


def test_positions_that_are_not_numbers_are_nan_even_if_the_calculator_raises():
    class Strict(Springs):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            if not np.isfinite(self.atoms.positions).all():
                raise ValueError("positions?")

    result = md(molecule("H2O"), Strict(fail_at=26, failure="nan"), steps=50)
    assert result.reason == "nan"


def test_existing_files_are_refused_before_anything_is_computed(tmp_path):
    (tmp_path / "cu-stats.csv").write_text("precious")
    calc = Springs()
    with pytest.raises(OutputExistsError, match="cu-stats.csv"):
        md(copper(), calc, steps=1, out=tmp_path / "cu")
    assert calc.calls == 0
    assert (tmp_path / "cu-stats.csv").read_text() == "precious"
    md(copper(), calc, steps=1, out=tmp_path / "cu", overwrite=True)
    assert "precious" not in (tmp_path / "cu-stats.csv").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperatures": 300}, "Did you mean 'temperature'"),
        ({"steps": -1}, "'steps'.*greater than or equal"),
        ({"ensemble": "nve", "thermostat": "bussi"}, "nve has no thermostat"),
        ({"ensemble": "npt", "thermostat": "bussi"}, "'nose-hoover' only"),
        ({"pressure": 1.0}, "use ensemble npt"),
        ({"temperature": 0, "thermostat": "bussi"}, "above 0 K"),
        ({"temperature": 0, "ensemble": "npt"}, "above 0 K"),
    ],
)
def test_bad_options(changes, message):
    with pytest.raises(ConfigError, match=message):
        md(copper(), EMT(), **changes)


def test_npt_needs_a_crystal_and_its_stress():
    with pytest.raises(ConfigError, match="periodic in three directions"):
        md(molecule("H2O"), EMT(), ensemble="npt")
    with pytest.raises(ConfigError, match="needs the stress"):
        md(copper(), Springs(), ensemble="npt")


@pytest.mark.parametrize("method", ["nose-hoover", "npt"])
def test_nose_hoover_refuses_fixed_atoms(method):
    atoms = copper()
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(ConfigError, match=r"FixAtoms.*langevin"):
        md(atoms, EMT(), **METHODS[method])


def test_bad_structures():
    with pytest.raises(StructureError, match="at least one atom"):
        md(Atoms(), EMT())


def test_the_result_is_the_last_step_also_without_files():
    result = md(bulk("Cu", cubic=True), EMT(), steps=25)
    longer = md(bulk("Cu", cubic=True), EMT(), steps=30)
    assert (result.steps, longer.steps) == (25, 30)
    assert result.energy != longer.energy
