"""How a training ends: failed, extended, without validation, without an epoch."""

from math import inf, nan

import pytest
import torch

from matkit.cli.display import Display
from matkit.cli.training import run_training
from matkit.data.dataset import read_dataset
from matkit.errors import CheckpointError
from matkit.models import checkpoint
from matkit.options import build
from matkit.train.finetune import finetune
from matkit.train.options import FinetuneOptions, TrainOptions
from matkit.train.outcome import errors_of_the_mean, failure_of
from matkit.train.run import train
from matkit.train.session import NOTHING_BETTER, Listener
from tests.train.labelled import TINY, frames, labelled_file


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model that was trained for a while."""
    folder = tmp_path_factory.mktemp("base")
    path = labelled_file(folder / "train.xyz", frames(16))
    given = {"train_file": path, "valid_fraction": 0.25, "split_by": "random", "model": TINY}
    given |= {"work_dir": str(folder), "max_num_epochs": 15, "batch_size": 4, "report": False}
    return train(build(TrainOptions, {**given, "lr": 0.02})).model


@pytest.fixture
def options(tmp_path, base):
    path = labelled_file(tmp_path / "train.xyz", frames(10, seed=5))
    rest = {"foundation_model": str(base), "work_dir": str(tmp_path), "max_num_epochs": 2}

    def make(**changes):
        given = {"train_file": path, "split_by": "random", **rest, "batch_size": 4, "report": False}
        return build(FinetuneOptions, {**given, "valid_fraction": 0.3, **changes})

    return make


def weights(path):
    return checkpoint.load(path)[0].state_dict()


def equal(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def test_a_training_that_ends_far_worse_than_its_base_has_failed(options, base, capsys):
    """It ended at 6.7e6 meV/Å with exit code 0."""
    chosen = options(lr=1.0, E0s="foundation")
    assert run_training(chosen, Display()) == 1
    told = capsys.readouterr().err
    assert "The training failed: it ended with a force error of" in told
    assert "that of the start is" in told
    assert NOTHING_BETTER in told
    model = f"{chosen.work_dir}/{chosen.name}/model.safetensors"
    assert equal(weights(model), weights(base))
    assert checkpoint.load(model)[1]["card"]["epoch"] == 0


def test_the_report_of_a_failed_training_says_so(options):
    outcome = finetune(options(lr=1.0, report=True, spot_checks=False))
    assert outcome.failure
    assert outcome.finished
    assert outcome.metrics["ended"].startswith("Failed after 2 epochs: it ended with")


@pytest.mark.parametrize(
    ("start", "last", "mean", "failed"),
    [
        ({"forces_mae": 0.1}, {"forces_mae": 0.2}, {}, ""),
        (
            {"forces_mae": 0.1},
            {"forces_mae": 0.4},
            {},
            "force error of 0.4 eV/Å, where that of the",
        ),
        ({"forces_mae": 0.1}, {"forces_mae": inf}, {}, "force error of inf"),
        ({"forces_mae": 0.1}, {"forces_mae": nan}, {}, "force error of nan"),
        ({"forces_mae": 1e-9}, {"forces_mae": 0.01}, {}, ""),
        ({"forces_mae": 9.0}, {"forces_mae": 9.1}, {"forces_mae": 1.0}, "predicting the mean is 1"),
        ({"forces_mae": 9.0}, {"forces_mae": 8.0}, {"forces_mae": 1.0}, ""),
        ({"energy_mae": 0.1}, {"energy_mae": 5.0}, {}, "energy error of 5 eV/atom"),
        ({"loss": 1.0}, {"loss": 4.0}, {}, "validation loss of 4, where"),
        ({}, {"loss": 4.0}, {}, ""),
        ({}, {}, {}, ""),
    ],
)
def test_what_counts_as_failed(start, last, mean, failed):
    reason = failure_of(start, last, mean)
    assert failed in reason
    assert bool(reason) == bool(failed)


def test_errors_of_predicting_the_mean(tmp_path):
    dataset = read_dataset([labelled_file(tmp_path / "a.xyz", frames(6, elements=("Cu",)))])
    energies = dataset.structures.system["energy"] / 4
    found = errors_of_the_mean(dataset)
    assert found["forces_mae"] == pytest.approx(
        float(dataset.structures.atom["forces"].abs().mean())
    )
    assert found["energy_mae"] == pytest.approx(float((energies - energies.mean()).abs().mean()))


def test_no_epochs_evaluate_the_base(options, base):
    outcome = finetune(options(max_num_epochs=0, E0s="foundation", report=True, spot_checks=False))
    assert outcome.finished
    assert outcome.history == []
    assert equal(weights(outcome.model), weights(base))
    errors = outcome.metrics["errors"]["validation"]
    assert errors["before"]["groups"] == errors["after"]["groups"]
    assert outcome.metrics["ended"] == "Finished after 0 epochs."


def test_no_epochs_can_be_a_dry_run(options):
    said = []
    finetune(options(max_num_epochs=0, dry_run=True), Listener(note=said.append))
    assert "0 steps of" in said[-1]


def test_training_without_validation(options):
    said = []
    chosen = options(valid_fraction=0, report=True, spot_checks=False)
    outcome = finetune(chosen, Listener(note=said.append))
    assert any("Nothing is kept for validation" in text for text in said)
    assert len(outcome.start.sets.train) == 10
    assert "training" in outcome.metrics["errors"]
    card = checkpoint.load(outcome.model)[1]["card"]
    assert "training_errors" in card
    assert "validation_errors" not in card


def test_a_finished_run_is_extended_as_if_it_had_never_ended(options):
    constant = {"scheduler": "constant", "warmup": 0.0, "lr": 0.001}
    whole = finetune(options(**constant, name="whole", max_num_epochs=4))
    finetune(options(**constant, name="parts"))
    said = []
    again = options(**constant, name="parts", max_num_epochs=4, restart="auto")
    outcome = finetune(again, Listener(note=said.append))
    assert [row["epoch"] for row in outcome.history] == [1, 2, 3, 4]
    assert equal(weights(outcome.model), weights(whole.model))
    assert any("goes on to epoch 4 instead of 2" in text for text in said)


def test_what_an_extension_does_to_the_learning_rate_is_said(options):
    finetune(options(lr=0.001))
    said = []
    finetune(options(lr=0.001, max_num_epochs=4, restart="auto"), Listener(note=said.append))
    (text,) = (text for text in said if "instead of" in text)
    assert "follows its course (cosine) over all 4 epochs" in text
    assert "after epoch 2 it is 0.000521, where it was 1e-05" in text


def test_a_finished_run_that_is_not_extended_says_so(options):
    finetune(options())
    said = []
    outcome = finetune(options(restart="auto"), Listener(note=said.append))
    assert len(outcome.history) == 2
    assert any("has ended after 2 epochs; ask for more" in text for text in said)


def test_a_run_cannot_end_before_where_it_is(options):
    finetune(options())
    with pytest.raises(CheckpointError, match="has 2 epochs already.*cannot end after 1"):
        finetune(options(max_num_epochs=1, restart="auto"))
