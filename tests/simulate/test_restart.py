import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet

from matkit.calculator import MatkitCalculator
from matkit.derivatives import Conservative
from matkit.errors import ConfigError, SimulationError
from matkit.models import checkpoint
from matkit.simulate import md
from matkit.simulate.integrators import set_state
from matkit.simulate.restart import read_restart
from tests.potentials.test_nequip import TINY
from tests.simulate.calculators import InterruptedEMT, WithoutReset
from tests.simulate.test_dynamics import METHODS, rows

OPTIONS = {"steps": 40, "stats_every": 3, "traj_every": 7, "restart_every": 10, "timestep": 4.0}
OUTPUTS = ("cu-traj.extxyz", "cu-stats.csv")


def copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.02, seed=3)
    return atoms.repeat((2, 1, 1))


def run(folder, calc=None, **changes):
    return md(copper(), calc or EMT(), out=folder / "cu", **{**OPTIONS, **changes})


def assert_same(one, two, first, second):
    assert np.array_equal(one.atoms.positions, two.atoms.positions)
    assert np.array_equal(one.atoms.get_momenta(), two.atoms.get_momenta())
    assert np.array_equal(one.atoms.cell.array, two.atoms.cell.array)
    for name in OUTPUTS:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    return tmp_path / "whole", tmp_path / "parts"


@pytest.mark.parametrize("method", METHODS)
def test_two_halves_equal_the_whole_bit_by_bit(method, folders):
    whole, parts = folders
    complete = run(whole, **METHODS[method])
    half = run(parts, **METHODS[method], steps=20)
    assert half.steps == 20
    rest = run(parts, **METHODS[method], restart="auto")
    assert (rest.restarted_from, rest.steps) == (20, 40)
    assert_same(complete, rest, whole, parts)
    assert rest.drift == complete.drift


@pytest.mark.parametrize("method", METHODS)
def test_an_interruption_between_restart_files_leaves_no_trace(method, folders):
    whole, parts = folders
    complete = run(whole, **METHODS[method])
    stopped = run(parts, InterruptedEMT(fail_at=30), **METHODS[method])
    assert stopped.reason == "interrupted"
    last = int(rows(parts / "cu-stats.csv")[-1]["step"])
    rest = run(parts, **METHODS[method], restart="auto")
    assert rest.restarted_from % 10 == 0
    assert rest.restarted_from < last  # rows were cut off and computed again
    assert stopped.last_good is not None
    assert not stopped.last_good.exists()
    assert_same(complete, rest, whole, parts)


def test_a_neighbour_list_with_a_skin_leaves_no_trace(folders):
    def calculator():
        torch.manual_seed(0)
        network = checkpoint.build("nequip", TINY)
        return MatkitCalculator(Conservative(network).eval(), device="cpu", dtype="float32")

    def part(folder, **changes):
        atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
        atoms.rattle(0.05, seed=0)
        return md(atoms, calculator(), out=folder / "cu", **{**OPTIONS, **changes}, ensemble="nve")

    whole, parts = folders
    complete = part(whole)
    part(parts, steps=20)
    assert_same(complete, part(parts, restart="auto"), whole, parts)


def test_calculators_without_reset_go_on_too(tmp_path):
    assert run(tmp_path, WithoutReset(), steps=10).converged
    assert run(tmp_path, WithoutReset(), steps=20, restart="auto").restarted_from == 10


def test_auto_starts_anew_without_a_restart_file(tmp_path):
    result = run(tmp_path, restart="auto", steps=5)
    assert result.restarted_from is None
    assert result.steps == 5


def test_auto_after_a_kill_before_the_first_restart_file(tmp_path):
    (tmp_path / "cu-traj.extxyz").write_text("half a fra")
    result = run(tmp_path, restart="auto", steps=5)
    assert result.converged
    assert "half" not in (tmp_path / "cu-traj.extxyz").read_text()


def test_a_finished_run_computes_nothing_more(tmp_path):
    run(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in OUTPUTS}
    again = run(tmp_path, restart="auto")
    assert (again.steps, again.reason) == (40, "done")
    assert {name: (tmp_path / name).read_bytes() for name in OUTPUTS} == before


def test_a_copied_restart_file_may_be_named(tmp_path):
    run(tmp_path, steps=20)
    shutil.copy(tmp_path / "cu-restart.npz", tmp_path / "kept.npz")
    run(tmp_path, steps=30, restart="auto")
    assert run(tmp_path, restart=tmp_path / "kept.npz").restarted_from == 20


def test_velocities_are_restored_in_full_precision(tmp_path):
    result = run(tmp_path, steps=10)
    saved = read_restart(tmp_path / "cu-restart.npz")
    assert saved.momenta.dtype == np.float64
    assert np.array_equal(saved.momenta, result.atoms.get_momenta())


def test_restart_needs_a_name():
    with pytest.raises(ConfigError, match="set `out`"):
        md(copper(), EMT(), restart="auto")


def test_a_named_restart_file_must_exist(tmp_path):
    with pytest.raises(SimulationError, match="no file"):
        run(tmp_path, restart=tmp_path / "nothing.npz")


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_damaged_restart_files(tmp_path, content):
    run(tmp_path, steps=10)
    path = tmp_path / "cu-restart.npz"
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    with pytest.raises(SimulationError, match="not a restart file of matkit, or is damaged"):
        run(tmp_path, restart="auto")


def saved(tmp_path):
    """The parts of a good restart file."""
    run(tmp_path, steps=2, restart_every=1, thermostat="nose-hoover")
    with np.load(tmp_path / "cu-restart.npz") as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads(str(arrays.pop("header")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.zeros((1, 3))}, "positions have the shape"),
        ({"momenta": np.full((8, 3), np.nan)}, "momenta are not finite"),
        ({"cell": np.zeros(9)}, "cell have the shape"),
        ({"numbers": np.array(["Cu"] * 8)}, "numbers are no row"),
        ({"cell": None}, "there is no cell"),
        ({"step": -1}, "step"),
        ({"step": "5"}, "step"),
        ({"rng": {"bit_generator": "PCG64"}}, "no state of random numbers"),
        ({"rng": []}, "rng"),
        ({"lengths": {"traj": -5}}, "lengths"),
        ({"options": None}, "options"),
        ({"extra": 1}, "extra"),
    ],
    ids=str,
)
def test_every_part_of_a_restart_file_is_checked(tmp_path, changes, message):
    arrays, header = saved(tmp_path)
    for name, value in changes.items():
        (arrays if name in arrays else header)[name] = value
    arrays = {name: value for name, value in arrays.items() if value is not None}
    path = tmp_path / "cu-restart.npz"
    np.savez(path, header=np.array(json.dumps(header)), **arrays)
    with pytest.raises(SimulationError, match=message) as error:
        run(tmp_path, restart="auto")
    assert "damaged" in str(error.value)


def test_a_restart_file_with_a_thermostat_of_another_shape(tmp_path):
    arrays, header = saved(tmp_path)
    name = next(n for n in arrays if n.startswith("integrator.") and arrays[n].ndim)
    path = tmp_path / "cu-restart.npz"
    np.savez(path, header=np.array(json.dumps(header)), **arrays | {name: np.zeros(99)})
    with pytest.raises(SimulationError, match="has the shape"):
        run(tmp_path, thermostat="nose-hoover", restart="auto")


def test_a_compressed_restart_file_is_not_ours(tmp_path):
    arrays, header = saved(tmp_path)
    path = tmp_path / "cu-restart.npz"
    np.savez_compressed(path, header=np.array(json.dumps(header)), **arrays)
    with pytest.raises(SimulationError, match="compressed"):
        run(tmp_path, restart="auto")


def test_restart_files_of_another_format(tmp_path):
    run(tmp_path, steps=10)
    path = tmp_path / "cu-restart.npz"
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(str(arrays["header"])) | {"format_version": 99}
    np.savez(path, **arrays | {"header": np.array(json.dumps(header))})
    with pytest.raises(SimulationError, match="has format 99"):
        run(tmp_path, restart="auto")


def test_another_structure_is_refused(tmp_path):
    run(tmp_path, steps=10)
    with pytest.raises(SimulationError, match=r"Cu8, got Ag4"):
        md(bulk("Ag", cubic=True), EMT(), out=tmp_path / "cu", restart="auto", **OPTIONS)


def test_other_options_are_refused(tmp_path):
    run(tmp_path, steps=10)
    with pytest.raises(SimulationError, match=r"temperature = 300\.0 then, 500\.0 now"):
        run(tmp_path, restart="auto", temperature=500)


def test_shortened_outputs_are_refused_and_left_alone(tmp_path):
    run(tmp_path, steps=10)
    (tmp_path / "cu-stats.csv").write_text("step\n")
    trajectory = (tmp_path / "cu-traj.extxyz").read_bytes()
    with pytest.raises(SimulationError, match=r"cu-stats\.csv: expected at least"):
        run(tmp_path, restart="auto")
    assert (tmp_path / "cu-traj.extxyz").read_bytes() == trajectory


def test_a_state_of_another_integrator_is_refused():
    with pytest.raises(SimulationError, match="lacks '_thermostat._eta'"):
        set_state(VelocityVerlet(copper(), 1.0), "nose-hoover", {})


SCRIPT = """
    import sys, time
    from ase.calculators.emt import EMT
    from matkit.simulate import md
    from tests.simulate.test_restart import OPTIONS, copper

    slow = len(sys.argv) > 2
    md(copper(), EMT(), out=sys.argv[1], restart="auto", ensemble="nve",
       on_step=lambda state: time.sleep(0.05 * slow), **OPTIONS)
"""


def start(folder, *words):
    code = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder / "cu"), *words]
    return subprocess.Popen(code, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


def test_a_killed_process_goes_on_bit_by_bit(folders):
    whole, parts = folders
    complete = run(whole, ensemble="nve")
    process = start(parts, "slow")
    deadline = time.monotonic() + 600
    while _last_step(parts) < 24 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 24 <= _last_step(parts) < 40
    assert start(parts).wait() == 0
    rest = read_restart(parts / "cu-restart.npz")
    assert np.array_equal(rest.positions, complete.atoms.positions)
    assert np.array_equal(rest.momenta, complete.atoms.get_momenta())
    for name in OUTPUTS:
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def _last_step(folder):
    path = folder / "cu-stats.csv"
    if not path.exists():
        return -1
    with path.open() as file:
        return max((int(row["step"]) for row in csv.DictReader(file)), default=-1)
