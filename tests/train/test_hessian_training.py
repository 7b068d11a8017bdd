"""Training on folders of Hessians, from files to a model file that predicts them."""

import signal
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
import yaml
from ase.io import read

from matkit import load_calculator
from matkit.errors import ConfigError, DataError, TrainingError
from matkit.evaluate.tables import cells, overview
from matkit.label import read_hessians
from matkit.models import checkpoint
from matkit.nn.references import references_of
from matkit.options import build
from matkit.train.finetune import finetune
from matkit.train.options import FinetuneOptions, TrainOptions
from matkit.train.run import train
from matkit.vibrations import vibrations
from tests.train.hessian_labels import TINY_HIP, hessian_folder
from tests.train.labelled import timeless
from tests.train.test_run import KILLED, logged, same, weights

HEAD_ONLY = {"energy_weight": 0, "forces_weight": 0, "hessian_weight": 1, "freeze": ["backbone"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of Hessians to learn from and to validate on."""
    root = tmp_path_factory.mktemp("hessians")
    return {
        "train_file": hessian_folder(root / "train", 12),
        "valid_file": hessian_folder(root / "valid", 5, seed=1),
    }


@pytest.fixture
def options(folders, tmp_path):
    """Options of a run that takes a second."""
    rest = {"work_dir": str(tmp_path), "max_num_epochs": 2, "batch_size": 4, "report": False}

    def make(**changes):
        return build(TrainOptions, {"model": TINY_HIP, **folders, **rest, **changes})

    return make


@pytest.fixture(scope="module")
def backbone(folders, tmp_path_factory):
    """A trained potential."""
    settings = {"model": TINY_HIP["backbone"], **folders, "report": False, "max_num_epochs": 2}
    work = {"work_dir": str(tmp_path_factory.mktemp("backbone"))}
    return str(train(build(TrainOptions, settings | work)).model)


def test_energies_and_hessians_are_learned_together(options, folders):
    settings = {"hessian_weight": 1, "hessian_modes_weight": 1, "lr": 0.05, "ema": False}
    outcome = train(options(max_num_epochs=15, **settings))
    first, last = outcome.history[0], outcome.history[-1]
    assert last["valid_hessian_mae"] < 0.6 * first["valid_hessian_mae"]
    assert last["valid_forces_mae"] < 0.7 * first["valid_forces_mae"]
    assert last["train_hessian_modes"] < first["train_hessian_modes"]
    best = min(outcome.history, key=lambda row: row["valid_loss"])
    network, metadata = checkpoint.load(outcome.model)
    assert metadata["card"]["epoch"] == best["epoch"]
    assert metadata["card"]["validation_errors"]["hessian_mae"] == best["valid_hessian_mae"]
    # The error in the log is that of the file's own matrices, entry by entry.
    found = read_hessians(folders["valid_file"])
    structures, hessians = found.batch(range(len(found)))
    with torch.no_grad():
        predicted = network.hessian_blocks(network.featurize(structures)).dense()
    error = torch.cat([(p - h).flatten() for p, h in zip(predicted, hessians, strict=True)])
    assert float(error.abs().mean()) == pytest.approx(best["valid_hessian_mae"], rel=1e-4)


def test_hessians_of_a_test_folder_are_scored_in_the_end(options, folders, tmp_path):
    known = hessian_folder(tmp_path / "known", 4, seed=7)
    without = hessian_folder(tmp_path / "without", 2, seed=8, hessian=False)
    given = {"hessian_weight": 1, "test_file": [known, without], "report": True}
    outcome = train(options(**given, spot_checks=False, max_num_epochs=1))
    found = {name: models["result"]["groups"] for name, models in outcome.metrics["errors"].items()}
    valid = found["validation"][0]["errors"]["hessian"]["mae"]
    assert valid == pytest.approx(outcome.history[-1]["valid_hessian_mae"], rel=1e-4)
    network, stored = checkpoint.load(outcome.model)[0], read_hessians(known)
    structures, hessians = stored.batch(range(len(stored)))
    with torch.no_grad():
        predicted = network.hessian_blocks(network.featurize(structures)).dense()
    error = torch.cat([(p - h).flatten() for p, h in zip(predicted, hessians, strict=True)])
    total, by_file = found["test"][0], {group["name"]: group for group in found["test"][1:]}
    assert total["structures"] == 6
    assert total["errors"]["hessian"] == {
        "count": len(error),
        "mae": pytest.approx(float(error.abs().mean()), rel=1e-4),
        "rmse": pytest.approx(float(error.square().mean().sqrt()), rel=1e-4),
    }
    assert ["hessian" in by_file[name]["errors"] for name in by_file if "xyz" in name] == [
        True,
        False,
    ]
    heading, units, *_ = cells(overview(outcome.metrics["errors"]))
    assert units[heading.index("Hessian")] == "eV/Å²"


def test_the_model_is_used_as_any_other(options, folders):
    outcome = train(options(hessian_weight=1, max_num_epochs=1))
    atoms = read(f"{folders['valid_file']}/labels.extxyz")
    calc = load_calculator(outcome.model)
    done = vibrations(atoms, calc, method="predict", relax=False)
    assert done.modes.frequencies.shape == (3 * len(atoms) - 6,)
    assert np.isfinite(done.modes.frequencies).all()


def test_the_data_set_the_constants_of_the_backbone(options):
    outcome = train(options(hessian_weight=1, max_num_epochs=1, lr=1e-12))
    facts, network = outcome.start.facts, checkpoint.load(outcome.model)[0]
    inner = network.backbone
    assert network.species == inner.species == (1, 8)
    assert facts["scale"][0] not in (0.0, 1.0)
    assert references_of(inner).scale.tolist() == pytest.approx(facts["scale"])
    assert references_of(inner).shift.tolist() == pytest.approx(facts["shift"])
    assert facts["neighbor_norm"] == pytest.approx(
        np.mean([2, 3, 2, 2, 3, 2, 2, 3, 2]) ** 0.5, rel=0.2
    )
    assert inner.interactions[0].neighbor_norm == facts["neighbor_norm"]


def test_the_head_alone_leaves_the_backbone(options, backbone, monkeypatch):
    """And nothing of the energy is computed, let alone differentiated."""

    def never(*_):
        raise AssertionError("the energy was computed")

    # A potential that comes with matkit looks at the labels first.
    monkeypatch.setattr(import_module("matkit.train.sets"), "refuse_wrong_labels", lambda *_: [])
    monkeypatch.setattr("matkit.derivatives.Conservative.forward", never)
    model = {**TINY_HIP, "backbone": backbone}
    outcome = train(options(model=model, **HEAD_ONLY, max_num_epochs=5, lr=0.02))
    assert outcome.history[-1]["valid_hessian_mae"] < outcome.history[0]["valid_hessian_mae"]
    assert "valid_forces_mae" not in outcome.history[0]
    network, before = checkpoint.load(outcome.model)[0], checkpoint.load(backbone)[0]
    assert same(before.state_dict(), network.backbone.state_dict())
    assert outcome.start.facts["backbone"] == backbone


def test_a_backbone_that_learns_nothing_must_be_frozen(options):
    changes = HEAD_ONLY | {"freeze": [], "max_num_epochs": 4}
    with pytest.raises(TrainingError, match=r"No gradient.*backbone\.readout.*or freeze them"):
        train(options(**changes))


@pytest.mark.slow
def test_kill_9_in_the_middle_changes_nothing(options, backbone, tmp_path):
    model = {**TINY_HIP, "backbone": backbone}
    changes = {"model": model, **HEAD_ONLY, "hessian_modes_weight": 1, "max_num_epochs": 4}
    changes |= {"batch_size": 2, "checkpoint_interval": 0}
    whole = train(options(name="whole", **changes))
    settings = options(name="killed", restart="auto", **changes)
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(settings.model_dump()))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "options.yaml")]
    killed = subprocess.run([*command, "kill"], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert len(logged(tmp_path / "killed")) == 2
    subprocess.run([*command, "go on"], check=True, capture_output=True)
    rest = checkpoint.load(tmp_path / "killed" / "model.safetensors")[0].state_dict()
    assert same(weights(whole), rest)
    rows = [{k: float(v) for k, v in row.items()} for row in logged(tmp_path / "killed")]
    assert timeless(rows) == timeless(whole.history)


def test_a_part_is_kept_for_validation_with_its_hessians(options):
    outcome = train(options(hessian_weight=1, valid_file=[], valid_fraction=0.3, split_by="random"))
    sets = outcome.start.sets
    assert len(sets.train) + len(sets.valid) == 12
    assert outcome.history[0]["valid_hessian_mae"] > 0


def test_hessians_need_a_head(options):
    with pytest.raises(ConfigError, match=r"need a model with a Hessian head, got Facet.*hip"):
        train(options(model=TINY_HIP["backbone"], hessian_weight=1))


def test_folders_without_hessians(options, folders, tmp_path):
    bare = hessian_folder(tmp_path / "bare", 3, seed=2, hessian=False)
    with pytest.raises(
        TrainingError, match=r"3 of 3 .* training set have no hessian.*matkit label"
    ):
        train(options(train_file=bare, hessian_weight=1))
    file = f"{folders['valid_file']}/labels.extxyz"
    with pytest.raises(TrainingError, match=r"5 of 5 .* validation set have no hessian"):
        train(options(valid_file=file, hessian_modes_weight=1))
    assert train(options(train_file=bare)).finished  # energies and forces of the folder are used


def test_some_hessians_may_be_missing_if_allowed(options, folders, tmp_path):
    bare = hessian_folder(tmp_path / "bare", 3, seed=2, hessian=False)
    both = [bare, folders["train_file"]]
    with pytest.raises(TrainingError, match=r"3 of 15 .*bare.*allow_missing"):
        train(options(train_file=both, hessian_weight=1))
    changes = {"hessian_weight": 1, "hessian_modes_weight": 1, "allow_missing": True}
    outcome = train(options(train_file=both, **changes))
    assert np.isfinite(outcome.history[-1]["valid_loss"])


def test_hessians_that_are_not_numbers_are_missing(options, tmp_path):
    folder = hessian_folder(tmp_path / "nan", 3, seed=2)
    numbers = np.memmap(tmp_path / "nan" / "labels.matrices", dtype="<f4", mode="r+")
    numbers[85] = np.nan  # the second structure follows 81 numbers
    numbers.flush()
    with pytest.raises(TrainingError, match=r"1 of 3 .* no hessian.*extxyz\[1\]"):
        train(options(train_file=folder, hessian_weight=1))


def test_edited_structures_are_noticed(options, tmp_path):
    folder = hessian_folder(tmp_path / "edited", 2, seed=2)
    path = tmp_path / "edited" / "labels.extxyz"
    size, (first, second) = path.stat().st_size, path.read_text().split("4\n", 1)
    path.write_bytes(f"4\n{second}{first}".encode().ljust(size))
    with pytest.raises(DataError, match="not those of its matrices"):
        train(options(train_file=folder, hessian_weight=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "hip", "backbone": {"lmax": 1}}}, "Expected `name`"),
        ({"model": {"name": "hip", "backbone": [1]}}, r"Expected as `backbone` the name or file"),
        ({"freeze": "head.nothing"}, r"No parameter fits the pattern 'head.nothing'.*head.pairs"),
    ],
)
def test_models_and_patterns_that_do_not_exist(options, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(options(**changes))


def test_the_recipe_in_two_commands(options, tmp_path):
    """The backbone comes with a head that has learned nothing; the flag is read as YAML."""
    first = train(options(name="first", freeze="head", max_num_epochs=1))
    assert "valid_hessian_mae" not in first.history[0]
    model = f"{{name: hip, channels: 6, backbone: {first.model}}}"
    second = train(options(name="second", model=model, **HEAD_ONLY, max_num_epochs=1))
    before, after = (checkpoint.load(outcome.model)[0] for outcome in (first, second))
    assert same(before.backbone.state_dict(), after.backbone.state_dict())
    assert after.recipe[1]["channels"] == 6


def test_a_trained_backbone_keeps_its_reference_energies(options, backbone):
    model = {**TINY_HIP, "backbone": backbone}
    with pytest.raises(ConfigError, match="brings its reference energies"):
        train(options(model=model, E0s="fit", hessian_weight=1))


@pytest.mark.parametrize("lora", [False, True])
def test_a_hessian_model_is_fine_tuned(options, folders, tmp_path, lora):
    """With replayed structures, which have no Hessians and are larger."""
    base = train(options(hessian_weight=1, max_num_epochs=1))
    more = hessian_folder(tmp_path / "more", 1, seed=3)  # three atoms; those replayed have four
    settings = {
        "foundation_model": str(base.model),
        "train_file": more,
        "valid_file": folders["valid_file"],
        "replay_file": f"{folders['train_file']}/labels.extxyz",
        "hessian_weight": 1,
        "lora": lora,
        "lora_rank": 2,
        "max_num_epochs": 4,
        "report": False,
    }
    work = {"work_dir": str(tmp_path), "name": "tuned", "allow_leakage": True}
    outcome = finetune(build(FinetuneOptions, settings | work))
    first, last = outcome.history[0], outcome.history[-1]
    assert last["train_hessian"] < first["train_hessian"]
    assert last["valid_hessian_mae"] < first["valid_hessian_mae"]
