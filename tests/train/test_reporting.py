"""The report that a training leaves, from its options to its files."""

import json
from importlib import import_module

import pytest
from ase.neighborlist import neighbor_list

from matkit.cli.training import run_training
from matkit.data.dataset import read_dataset
from matkit.evaluate.comparison import evaluate
from matkit.models.zoo import load
from matkit.options import build
from matkit.report.json_files import plain
from matkit.train.common import common_structures
from matkit.train.finetune import finetune
from matkit.train.options import FinetuneOptions, TrainOptions
from matkit.train.reporting import COMMON
from matkit.train.run import train
from tests.train.labelled import TINY, frames, labelled_file

QUICK = {"max_num_epochs": 2, "batch_size": 4, "spot_checks": False}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    sets = {"train": frames(12), "valid": frames(4, seed=1), "test": frames(6, seed=2)}
    named = {name: labelled_file(folder / f"{name}.xyz", atoms) for name, atoms in sets.items()}
    return {f"{name}_file": path for name, path in named.items()}


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    given = {**QUICK, **files, "model": TINY, "work_dir": str(tmp_path_factory.mktemp("trained"))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("matkit.evaluate.physics.dynamics"), "LENGTH", 100.0)
        return train(build(TrainOptions, {**given, "spot_checks": True}))


def metrics(outcome):
    return json.loads((outcome.folder / "metrics.json").read_text(encoding="utf-8"))


def test_training_reports_its_result(trained, files):
    found = metrics(trained)
    assert found == trained.metrics
    assert list(found["errors"]) == ["test", "validation"]
    total = evaluate(load(trained.model), read_dataset(files["test_file"])).total
    errors = found["errors"]["test"]["result"]["groups"][0]["errors"]
    for key, expected in total.items():
        assert errors[key]["mae"] == pytest.approx(expected.mae)
    assert found["history"] == trained.history
    assert found["ended"] == "Finished after 2 epochs."
    assert found["settings"]["batch_size"] == 4
    assert found["facts"] == plain(trained.start.facts)
    assert found["spot_checks"]["nve"]["result"]["steps"] == 100
    assert "report.html" in [path.name for path in trained.folder.iterdir()]


def test_fine_tuning_reports_before_and_after(trained, files, tmp_path):
    shifted = frames(10, seed=5)
    for atoms in shifted:
        atoms.calc.results["energy"] += 7.0 * atoms.symbols.formula.count().get("Cu", 0)
    given = {
        **QUICK,
        "work_dir": str(tmp_path),
        "foundation_model": str(trained.model),
        "train_file": labelled_file(tmp_path / "train.xyz", shifted[:7]),
        "valid_file": labelled_file(tmp_path / "valid.xyz", shifted[7:]),
        "retain_file": files["test_file"],
    }
    outcome = finetune(build(FinetuneOptions, given))
    found = metrics(outcome)["errors"]
    assert {name: list(models) for name, models in found.items()} == {
        "validation": ["before", "after"],
        "retained": ["before", "after"],
    }
    # The energies of the retained set are moved for the result only.
    before = found["retained"]["before"]["groups"][0]["errors"]
    base = trained.metrics["errors"]["test"]["result"]["groups"][0]["errors"]
    assert before["energy"]["mae"] == pytest.approx(base["energy"]["mae"], abs=1e-6)
    valid = {name: models["groups"][0]["errors"] for name, models in found["validation"].items()}
    assert valid["before"]["energy"]["mae"] > 1
    assert valid["after"]["energy"]["mae"] < 1


def test_the_command_tells_what_changed(trained, files, tmp_path, capsys):
    from matkit.cli.display import Display

    given = {**QUICK, **files, "work_dir": str(tmp_path), "foundation_model": str(trained.model)}
    assert run_training(build(FinetuneOptions, given), Display()) == 0
    out = capsys.readouterr().out
    for text in ("test, before", "test, after", "validation, after", "test (MAE): energy* "):
        assert text in out


def test_forgetting_is_measured_unless_told_otherwise(trained, tmp_path):
    moved = frames(6, ("Cu",), seed=5)
    for atoms in moved:
        atoms.calc.results["energy"] += 30.0
    given = {**QUICK, "work_dir": str(tmp_path), "foundation_model": str(trained.model)}
    given |= {"train_file": labelled_file(tmp_path / "train.xyz", moved), "lr": 1e-12}
    found = metrics(finetune(build(FinetuneOptions, {**given, "valid_fraction": 0.5})))
    models = found["errors"][COMMON]
    before, after = (models[name]["groups"][0] for name in ("before", "after"))
    assert before["structures"] == after["structures"] == 2  # copper and gold
    assert before["errors"]["forces"]["mae"] == pytest.approx(0, abs=1e-9)
    # References that were moved are not forgetting.
    assert after["errors"]["energy"]["mae"] < 1e-5
    assert after["errors"]["forces"]["mae"] < 1e-5


def test_the_common_structures_are_sound():
    frames = common_structures(range(1, 97))
    assert len(frames) == 41
    assert max(map(len, frames)) <= 12
    again = common_structures(range(1, 97))
    assert all(one == other for one, other in zip(frames, again, strict=True))
    assert common_structures({999}) == []
    for atoms in frames:
        closest = neighbor_list("d", atoms, 2.6 if atoms.pbc.any() else 1.2)
        assert len(closest) == 0 or closest.min() > 0.85


def test_no_report_unless_wanted(files, tmp_path):
    given = {**QUICK, **files, "model": TINY, "work_dir": str(tmp_path), "report": False}
    outcome = train(build(TrainOptions, given))
    assert outcome.metrics is None
    assert not (outcome.folder / "metrics.json").exists()


@pytest.mark.slow
def test_a_training_out_of_time_says_so(files, tmp_path, monkeypatch):
    given = {**QUICK, **files, "model": TINY, "work_dir": str(tmp_path), "max_num_epochs": 10**6}
    monkeypatch.setattr(import_module("matkit.train.loop"), "CLOCK_STEPS", 1)
    limited = {"max_time": 2 / 60, "eval_interval": 1, "checkpoint_interval": 1.0}
    outcome = train(build(TrainOptions, {**given, **limited}))
    assert not outcome.finished
    assert outcome.metrics["ended"].startswith("The allowed time was up after")
