"""Executors by their names: workers of this machine, of Parsl, of Dask, and what has none."""

import gc
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from matkit.errors import ConfigError, MissingExtraError, SimulationError
from matkit.runs import executors
from matkit.runs.executors import open_executor
from matkit.runs.schedule import Plan
from tests.runs.test_schedule import COUNT, items, late_first, one, run

# Parsl and Dask leave sockets open when they end.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def nothing_left_for_other_tests():
    yield
    gc.collect()


def kills_its_worker_once(folder, chunk):
    """The worker is killed in the middle of item 3, and of no other."""
    flag = Path(folder) / "killed"
    if chunk[0].index == 3 and not flag.exists():
        flag.touch()
        # Parsl's workers send results from a thread; one that is killed while it does so leaves a
        # lock behind that stops all the others.
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    return late_first(chunk)


@pytest.mark.parametrize(
    "where", ["local", *(pytest.param(x, marks=pytest.mark.slow) for x in ("parsl", "dask"))]
)
def test_a_worker_is_killed_at_work_and_all_items_are_done(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # of these functions
    with open_executor(where, 2) as executor:
        work = partial(kills_its_worker_once, str(tmp_path))
        assert run(tmp_path, work, Plan(one, 0, executor, 4)) == list(range(COUNT))
    assert (tmp_path / "killed").exists()
    assert not [p.name for p in tmp_path.iterdir() if p.is_dir()]  # no folder of logs is left


def sleeps(chunk):
    time.sleep(600)
    return []


def stopped_at_work():
    with open_executor("local", 2) as executor:
        executor.submit(sleeps, [])
        executor.submit(late_first, list(items())).result()  # so that both are at work
        raise KeyboardInterrupt


def test_ctrl_c_ends_workers_at_once():
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        stopped_at_work()
    assert time.monotonic() - begin < 300


def threads_of_others(chunk):
    return [os.environ.get("OMP_NUM_THREADS")]


def test_libraries_with_threads_of_their_own_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with open_executor("local", 2) as executor:
        found = executor.submit(threads_of_others, []).result()
    assert found == [str(max(1, (os.cpu_count() or 1) // 2))]


def test_one_local_worker_is_this_process():
    with open_executor("local", 1) as executor:
        assert executor is None


def test_a_configuration_of_parsl_is_a_file_of_python(tmp_path):
    (tmp_path / "threads.py").write_text(
        "import parsl\n"
        "from parsl.executors import ThreadPoolExecutor\n"
        f"config = parsl.Config(executors=[ThreadPoolExecutor()], run_dir={str(tmp_path)!r})\n"
    )
    with open_executor(f"parsl:{tmp_path / 'threads.py'}", 1) as executor:
        assert run(tmp_path, late_first, Plan(one, 0, executor)) == list(range(COUNT))


@pytest.mark.parametrize("where", ["", "slurm", "local:2", "parsl:", "dask:", "Parsl"])
def test_unknown_executors_are_refused(where):
    with pytest.raises(ConfigError, match=r"local, parsl, parsl:CONFIG\.py, dask or dask:ADDRESS"):
        open_executor(where, 2).__enter__()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "found no"),
        ("other = 1", "got no config"),
        ("config = 1", "got a config of int"),
        ("1 / 0", "does not run: ZeroDivisionError"),
    ],
)
def test_files_that_configure_nothing(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.py").write_text(text)
    with pytest.raises(ConfigError, match=message):
        open_executor(f"parsl:{tmp_path / 'config.py'}", 2).__enter__()


def test_a_batch_system_that_is_not_there(tmp_path):
    (tmp_path / "config.py").write_text(
        "import parsl\n"
        "from parsl.executors import HighThroughputExecutor\n"
        "one = HighThroughputExecutor(\n"
        "    address='127.0.0.1', interchange_launch_cmd=['nowhere.py'], encrypted=False\n)\n"
        f"config = parsl.Config(executors=[one], run_dir={str(tmp_path)!r})\n"
    )
    with pytest.raises(SimulationError, match=r"cannot be had.*nowhere\.py.*Nothing was computed"):
        open_executor(f"parsl:{tmp_path / 'config.py'}", 2).__enter__()


def test_a_scheduler_of_dask_that_does_not_answer(monkeypatch):
    monkeypatch.setattr("matkit.runs.executors.REACH", 0.2)
    with pytest.raises(SimulationError, match=r"dask:tcp://127\.0\.0\.1:1.*cannot be had"):
        open_executor("dask:tcp://127.0.0.1:1", 2).__enter__()


@pytest.mark.parametrize(("where", "package"), [("parsl", "parsl"), ("dask", "distributed")])
def test_missing_packages_are_named(monkeypatch, where, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r'pip install "matkit\[parallel\]"'):
        open_executor(where, 2).__enter__()


def test_the_example_for_slurm_is_a_configuration(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "howto" / "clusters.md"
    text = page.read_text(encoding="utf-8").split('```python title="slurm.py"\n')[1].split("```")[0]
    (tmp_path / "slurm.py").write_text(text)
    (executor,) = executors.config_of(str(tmp_path / "slurm.py")).executors
    assert executor.provider.label == "slurm"
