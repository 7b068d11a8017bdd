import copy
import csv
import signal
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.io import read

from matkit import load_calculator
from matkit.derivatives import Conservative
from matkit.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    OutputExistsError,
    TrainingError,
    UnknownElementError,
)
from matkit.evaluate.errors import ErrorSums
from matkit.evaluator import predict
from matkit.models import checkpoint
from matkit.nn.references import references_of
from matkit.options import build
from matkit.train.options import TrainOptions
from matkit.train.run import Listener, train
from tests.train.labelled import TINY, frames, labelled_file, timeless


@pytest.fixture
def options(tmp_path):
    """Options of a run that takes a second."""
    files = {
        "train_file": labelled_file(tmp_path / "train.xyz", frames(12)),
        "valid_file": labelled_file(tmp_path / "valid.xyz", frames(4, seed=1)),
    }
    rest = {"model": TINY, "work_dir": str(tmp_path), "max_num_epochs": 4, "batch_size": 4}

    def make(**changes):
        return build(TrainOptions, {**files, **rest, "report": False, **changes})

    return make


def weights(outcome):
    return checkpoint.load(outcome.model)[0].state_dict()


def logged(folder):
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


def test_training_learns_and_leaves_everything(options, tmp_path):
    outcome = train(options(max_num_epochs=30, stress_weight=10))
    assert outcome.finished
    first, last = outcome.history[0], outcome.history[-1]
    assert last["valid_loss"] < 0.5 * first["valid_loss"]
    folder = tmp_path / "model"
    rows = logged(folder)
    assert [float(row["valid_loss"]) for row in rows] == [r["valid_loss"] for r in outcome.history]
    minutes = [float(row["minutes"]) for row in rows]
    assert 0 < minutes[0] < minutes[-1]
    assert yaml.safe_load((folder / "config.yaml").read_text())["lr"] == 0.005
    network, metadata = checkpoint.load(outcome.model)
    best = min(outcome.history, key=lambda row: row["valid_loss"])
    assert metadata["card"]["epoch"] == best["epoch"]
    # The errors in the log are those of the file, seen by independent code.
    data = outcome.start.sets.valid.structures
    sums = ErrorSums()
    sums.add(predict(Conservative(network).eval(), data), data)
    for label in ("energy", "forces", "stress"):
        assert sums.result()[label].mae == pytest.approx(best[f"valid_{label}_mae"], rel=1e-4)


def test_the_model_is_an_ase_calculator(options):
    outcome = train(options(max_num_epochs=1))
    atoms = frames(1)[0]
    atoms.calc = load_calculator(outcome.model)
    assert atoms.get_forces().shape == (4, 3)


def test_the_same_seed_gives_the_same_weights(options):
    first, again = (train(options(name=name)) for name in ("a", "b"))
    other = train(options(name="c", seed=1))
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))


def test_interrupted_runs_end_with_the_same_weights(options):
    whole = train(options(name="whole", max_num_epochs=6))

    class StopError(Exception):
        pass

    def stop_in(epoch, batch):
        def step(e, b, count):
            if (e, b) == (epoch, batch):
                raise StopError

        return Listener(step=step)

    changes = {"name": "pieces", "max_num_epochs": 6, "restart": "auto", "checkpoint_interval": 0}
    for place in ((1, 2), (4, 1)):
        with pytest.raises(StopError):
            train(options(**changes), stop_in(*place))
    pieces = train(options(**changes))
    assert same(weights(whole), weights(pieces))
    assert timeless(whole.history) == timeless(pieces.history)


KILLED = """
import os, sys
from matkit.options import build
from matkit.train import TrainOptions
from matkit.train.run import Listener, train
import yaml
options = build(TrainOptions, yaml.safe_load(open(sys.argv[1])))
def step(epoch, batch, count):
    if (epoch, batch) == (2, 3):
        os.kill(os.getpid(), 9)
train(options, Listener(step=step) if sys.argv[2] == "kill" else None)
"""


def test_kill_9_in_the_middle_changes_nothing(options, tmp_path):
    whole = train(options(name="whole", max_num_epochs=5, checkpoint_interval=0))
    settings = options(name="killed", max_num_epochs=5, checkpoint_interval=0, restart="auto")
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(settings.model_dump()))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "options.yaml")]
    killed = subprocess.run([*command, "kill"], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert len(logged(tmp_path / "killed")) == 2
    before = float(logged(tmp_path / "killed")[-1]["minutes"])
    subprocess.run([*command, "go on"], check=True, capture_output=True)
    assert float(logged(tmp_path / "killed")[-1]["minutes"]) > before > 0
    rest = checkpoint.load(tmp_path / "killed" / "model.safetensors")[0].state_dict()
    assert same(weights(whole), rest)


def test_a_run_goes_on_from_the_very_end_of_an_epoch(options, monkeypatch):
    # 20 steps, then a checkpoint whose epoch lacks nothing but its validation.
    changes = {"batch_size": 3, "max_num_epochs": 10}
    whole = train(options(name="whole", **changes))
    monkeypatch.setattr(import_module("matkit.train.loop"), "CLOCK_STEPS", 4)
    part = train(options(name="part", **changes, max_time=1e-9))
    assert not part.finished
    for _ in range(2):  # each time one epoch further
        train(options(name="part", **changes, max_time=1e-9, restart="auto"))
    rest = train(options(name="part", **changes, restart="auto"))
    assert same(weights(whole), weights(rest))
    assert timeless(rest.history) == timeless(whole.history)


def test_batches_may_be_made_by_other_processes(options):
    here, there = (train(options(name=f"n{n}", num_workers=n, max_num_epochs=2)) for n in (0, 1))
    assert same(weights(here), weights(there))


def test_a_gradient_that_is_not_finite_names_the_batch(options, monkeypatch):
    monkeypatch.setattr(import_module("matkit.train.loop"), "clip", lambda parameters, limit: False)
    with pytest.raises(TrainingError, match=r"The gradient is not a finite number.*train.xyz\["):
        train(options())


def test_a_device_that_is_not_there(options):
    with pytest.raises(ConfigError, match=r"Cannot train on 1 device.*'warp'.*matkit doctor"):
        train(options(device="warp"))


def test_only_auto_goes_on(options):
    with pytest.raises(ConfigError, match="restart"):
        options(restart="results/model/checkpoint.pt")


def test_an_architecture_may_know_more_elements_than_the_data(options):
    model = {**TINY, "species": [8, 29, 79]}
    outcome = train(options(model=model, max_num_epochs=1))
    network = checkpoint.load(outcome.model)[0]
    assert network.species == (8, 29, 79)
    assert references_of(network).shift[0] == 0
    with pytest.raises(UnknownElementError, match="Au"):
        train(options(model={**TINY, "species": [29]}, name="few"))


def test_the_time_limit_stops_and_restart_goes_on(options):
    whole = train(options(name="whole", max_num_epochs=8))
    changes = {"name": "parts", "max_num_epochs": 8}
    part = train(options(**changes, max_time=1e-9, batch_size=4))
    assert not part.finished
    rest = train(options(**changes, restart="auto"))
    assert rest.finished
    assert same(weights(whole), weights(rest))


def test_a_run_is_not_overwritten_by_accident(options):
    train(options(max_num_epochs=1))
    with pytest.raises(OutputExistsError, match="--restart auto"):
        train(options(max_num_epochs=1))
    assert train(options(max_num_epochs=2, overwrite=True)).history[-1]["epoch"] == 2


def test_a_run_does_not_go_on_with_other_options(options):
    train(options(max_num_epochs=1))
    with pytest.raises(CheckpointError, match=r"lr = 0.005 then, 0.1 now"):
        train(options(max_num_epochs=1, lr=0.1, restart="auto"))


def test_a_damaged_checkpoint_is_named(options, tmp_path):
    train(options(max_num_epochs=1))
    (tmp_path / "model" / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="is damaged"):
        train(options(max_num_epochs=1, restart="auto"))


def test_patience_ends_the_run(options):
    outcome = train(options(lr=1e-12, ema=False, patience=2, max_num_epochs=50))
    assert outcome.finished
    assert "patience" in outcome.reason
    assert len(outcome.history) < 10


def test_losses_that_are_not_finite_name_the_structures(options, tmp_path):
    bad = frames(3)
    bad[1].calc.results["forces"] = bad[1].calc.results["forces"] * 1e300
    path = labelled_file(tmp_path / "bad.xyz", bad)
    with pytest.raises(TrainingError, match=r"not a finite number in step 0.*bad.xyz\[1\]"):
        train(options(train_file=path, loss="mse"))


def test_missing_labels_are_refused_unless_allowed(options, tmp_path):
    some = frames(4)
    del some[2].calc.results["forces"]
    path = labelled_file(tmp_path / "some.xyz", some)
    with pytest.raises(TrainingError, match=r"1 of 4 .* no forces.*some.xyz\[2\].*allow_missing"):
        train(options(train_file=path))
    assert train(options(train_file=path, allow_missing=True)).finished


def test_labels_at_two_places_are_refused_in_any_case(options, tmp_path):
    mixed = frames(4)
    mixed[1].info["REF_energy"] = mixed[1].get_potential_energy()
    mixed[1].calc = None
    mixed[1].arrays["REF_forces"] = np.zeros((len(mixed[1]), 3))
    path = labelled_file(tmp_path / "mixed.xyz", mixed)
    with pytest.raises(DataError, match=r"3 structures have it elsewhere only: .*\(3\)"):
        train(options(train_file=path, allow_missing=True))


def test_a_label_that_is_nowhere_is_refused_in_any_case(options, tmp_path):
    without = frames(4)
    for atoms in without:
        del atoms.calc.results["stress"]
    path = labelled_file(tmp_path / "without.xyz", without)
    with pytest.raises(TrainingError, match="4 of 4 .* no stress"):
        train(options(train_file=path, stress_weight=1, allow_missing=True))


def test_leakage_is_refused_unless_allowed(options):
    changes = {"valid_file": options().train_file}
    with pytest.raises(TrainingError, match=r"12 structures of the validation set are in the"):
        train(options(**changes))
    assert train(options(**changes, allow_leakage=True, max_num_epochs=1)).finished


def test_no_file_at_all(options):
    with pytest.raises(ConfigError, match="--train-file"):
        train(options(train_file=[]))


def test_isolated_atoms_give_the_reference_energies(options, tmp_path):
    alone = []
    for symbol, energy in (("Cu", -1.0), ("Au", -2.0)):
        atoms = Atoms(symbol, info={"config_type": "IsolatedAtom", "REF_energy": energy})
        alone.append(atoms)
    labelled = frames(6)
    for atoms in labelled:
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.set_array("REF_forces", atoms.get_forces())
        atoms.calc = None
    path = labelled_file(tmp_path / "ref.xyz", [*alone, *labelled])
    outcome = train(options(train_file=path, max_num_epochs=1))
    network = checkpoint.load(outcome.model)[0]
    assert network.species == (29, 79)
    assert references_of(network).shift.tolist() == [-1.0, -2.0]
    assert len(outcome.start.sets.train) == 6


def test_weights_of_configuration_types(options, tmp_path):
    used = frames(4)
    for atoms in used:
        atoms.info["config_type"] = "used"
    # The same frames again, so that units and neighbours are the same.
    labelled = [copy.deepcopy(atoms) for atoms in used for _ in range(2)]
    for atoms in labelled[1::2]:
        atoms.info["config_type"] = "ignored"
        atoms.calc.results["energy"] += 3.0
    changes = {"config_type_weights": {"ignored": 0.0}, "batch_size": 8, "loss": "mse"}
    changes |= {"E0s": {"Cu": 0.0, "Au": 0.0}, "ema": False, "max_num_epochs": 1}
    both = labelled_file(tmp_path / "both.xyz", labelled)
    only = labelled_file(tmp_path / "only.xyz", used)
    a = train(options(**changes, train_file=both, name="a"))
    b = train(options(**changes, train_file=only, name="b"))
    # Half of the structures count, so the mean is half as large; Adam's step is the same.
    assert a.history[0]["train_loss"] == pytest.approx(b.history[0]["train_loss"] / 2, rel=1e-5)


def test_a_dry_run_trains_nothing(options, tmp_path):
    notes = []
    outcome = train(options(dry_run=True), Listener(note=notes.append))
    assert outcome.model is None
    assert not (tmp_path / "model").exists()
    assert "parameters; 12 steps of" in notes[-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "facte"}, "Unknown model 'facte'.*facet"),
        ({"model": {"irreps": []}}, "Expected `name`"),
        ({"model": TINY, "num_channels": 8}, "does not take num_channels"),
    ],
)
def test_architectures_that_do_not_exist(options, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(options(**changes))


def test_maces_names_change_the_architecture(options):
    outcome = train(options(r_max=4.0, max_L=0, max_num_epochs=1))
    network = checkpoint.load(outcome.model)[0]
    assert network.cutoff == 4.0
    assert network.lmax == 0


def test_predictions_are_written_nowhere_else(options, tmp_path):
    before = read(options().train_file[0], ":")
    train(options(max_num_epochs=1))
    assert read(options().train_file[0], ":") == before
