"""A finished model outlives everything that goes wrong in the run that is to replace it."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from matkit.errors import ConfigError, OutputExistsError, UnknownNameError
from matkit.models import checkpoint
from matkit.options import build
from matkit.runs.locking import alone
from matkit.train.finetune import finetune
from matkit.train.options import FinetuneOptions, TrainOptions
from matkit.train.run import Listener, train
from tests.train.labelled import TINY, frames, labelled_file


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Options of a run that takes a second, and the folder of one that is finished."""
    folder = tmp_path_factory.mktemp("run")
    given = {"train_file": labelled_file(folder / "train.xyz", frames(12)), "model": TINY}
    given |= {"valid_fraction": 0.25, "split_by": "random", "work_dir": str(folder)}
    given |= {"batch_size": 4, "max_num_epochs": 2, "report": False}
    train(build(TrainOptions, given))
    return given, folder / "model"


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def options(given, **changes):
    return build(TrainOptions, {**given, "overwrite": True, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"E0s": "typo"},
        {"train_file": ["nothing.xyz"]},
        {"model": {"name": "nothing"}},
        {"freeze": ["nothing"]},
        {"energy_key": "nothing"},
        {"device": "tpu"},
    ],
    ids=str,
)
def test_a_model_outlives_an_error_in_the_options_of_the_next(finished, changes):
    given, folder = finished
    before = contents(folder)
    with pytest.raises(Exception, match="."):
        train(options(given, **changes))
    assert contents(folder) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ZeroDivisionError])
def test_a_model_outlives_the_first_epoch_of_the_next(finished, error):
    given, folder = finished
    before = contents(folder)

    def fail(*_):
        assert not (folder / "model.safetensors").exists()  # two runs never mix
        raise error

    with pytest.raises(error):
        train(options(given, max_num_epochs=3), Listener(step=fail))
    assert contents(folder) == before


def test_finetune_overwrites_only_by_a_result(finished, tmp_path):
    given, folder = finished
    base = str(folder / "model.safetensors")
    common = {key: given[key] for key in ("train_file", "valid_fraction", "split_by", "report")}
    common |= {"foundation_model": base, "work_dir": str(tmp_path), "max_num_epochs": 1}
    first = finetune(build(FinetuneOptions, common))
    before = contents(first.folder)
    with pytest.raises(UnknownNameError, match="typo"):
        finetune(build(FinetuneOptions, {**common, "overwrite": True, "E0s": "typo"}))
    assert contents(first.folder) == before
    finetune(build(FinetuneOptions, {**common, "overwrite": True, "seed": 7}))
    assert len(list(first.folder.glob("events*"))) <= 1
    assert contents(first.folder)["model.safetensors"] != before["model.safetensors"]


KILL = """
import os, sys
from matkit.train.options import TrainOptions
from matkit.train.run import Listener, train
options = TrainOptions.model_validate_json(sys.argv[1])
train(options, Listener(step=lambda *_: os.kill(os.getpid(), 9)))
"""


@pytest.mark.slow
def test_a_model_outlives_kill_9_before_the_first_epoch_of_the_next(finished):
    given, folder = finished
    before = contents(folder)
    words = [sys.executable, "-c", KILL, options(given, max_num_epochs=3).model_dump_json()]
    assert subprocess.run(words, check=False).returncode == -9
    assert contents(folder) != before
    with pytest.raises(OutputExistsError):
        train(build(TrainOptions, given))  # the next one who comes finds the old run
    assert contents(folder) == before


def test_a_run_that_was_killed_at_its_beginning_is_no_run(finished, tmp_path):
    given, _ = finished
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.yaml").write_text("lr: 1.0")
    assert train(build(TrainOptions, {**given, "work_dir": str(tmp_path)})).model.exists()


def test_two_trainings_of_one_name(finished):
    given, folder = finished
    with alone(folder), pytest.raises(ConfigError, match="another run is writing"):
        train(options(given))


RUN = """
import sys
from matkit.train.finetune import finetune
from matkit.train.options import FinetuneOptions
finetune(FinetuneOptions.model_validate_json(sys.argv[1]))
"""


@pytest.mark.slow
def test_ten_kills_of_a_fine_tuning_change_no_bit(finished, tmp_path):
    given, folder = finished
    common = {key: given[key] for key in ("train_file", "valid_fraction", "split_by", "report")}
    common |= {"foundation_model": str(folder / "model.safetensors"), "work_dir": str(tmp_path)}
    common |= {"max_num_epochs": 40, "batch_size": 2, "checkpoint_interval": 0, "restart": "auto"}
    whole = finetune(build(FinetuneOptions, {**common, "name": "whole"}))
    words = [sys.executable, "-c", RUN]
    words += [build(FinetuneOptions, {**common, "name": "killed"}).model_dump_json()]
    state, rng = tmp_path / "killed" / "checkpoint.pt", random.Random(0)
    for _ in range(10):
        before = state.stat().st_mtime_ns if state.exists() else 0
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
            while not state.exists() or state.stat().st_mtime_ns == before:
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(rng.uniform(0.0, 0.5))
            process.kill()
            assert process.wait() == -signal.SIGKILL
    subprocess.run(words, check=True)
    models = [Path(tmp_path, name, "model.safetensors") for name in (whole.folder.name, "killed")]
    one, other = (checkpoint.load(path)[0].state_dict() for path in models)
    assert all(torch.equal(one[key], other[key]) for key in one)
