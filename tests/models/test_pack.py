import csv

import pytest
import torch

from matkit.derivatives import force_field
from matkit.errors import CheckpointError, ConfigError
from matkit.models import checkpoint, pack
from tests.models.test_trim import network

TEXTS = {"licence": "MIT", "citation": "nobody", "description": "small", "training_data": "salt"}


@pytest.fixture
def run(tmp_path):
    """A folder as trainings leave it, whose last epoch has other weights than the best."""
    folder = tmp_path / "run"
    folder.mkdir()
    best, last = network(), network()
    with torch.no_grad():
        next(iter(last.parameters())).add_(1.0)
    written = {"licence": "not stated", "epoch": 3}
    checkpoint.save(best.double(), folder / "model.safetensors", written)
    torch.save({"average": force_field(last).state_dict()}, folder / "checkpoint.pt")
    with (folder / "log.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["epoch", "valid_loss", "lr"], [4, 0.5, 0.1], [5, 0.7, 0.1]])
    return folder


def first(path):
    return next(iter(checkpoint.load(path)[0].parameters()))


def test_a_run_becomes_one_file_with_its_card(run, tmp_path):
    package = pack.pack(run, tmp_path / "out.safetensors", TEXTS)
    model, metadata = checkpoint.load(package.path)
    assert metadata["card"] == package.card == {**TEXTS, "epoch": 3}
    assert model.dtype == torch.float32
    assert package.size == package.path.stat().st_size
    assert package.fits_in_wheel
    assert package.missing == []


def test_the_last_epoch_instead_of_the_best(run, tmp_path):
    out = tmp_path / "out.safetensors"
    package = pack.pack(run, out, {}, last=True)
    assert package.card["epoch"] == 5
    assert package.card["validation_errors"] == {"loss": 0.7}
    shift = first(out) - first(run / "model.safetensors")
    assert float(shift.detach().flatten()[0]) == pytest.approx(1.0)
    assert package.missing == ["description", "citation", "training_data"]


def test_a_file_becomes_another_one(run, tmp_path):
    package = pack.pack(run / "model.safetensors", tmp_path / "out.safetensors", TEXTS)
    assert package.card["licence"] == "MIT"


def test_large_files_are_told(run, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "MOST_BYTES", 10)
    assert not pack.pack(run, tmp_path / "out.safetensors", TEXTS).fits_in_wheel


def test_a_card_with_other_words_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="'license'.*Did you mean 'licence'"):
        pack.pack(run, tmp_path / "out.safetensors", {"license": "MIT"})
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("name", ["checkpoint.pt", "log.csv"])
def test_a_run_without_its_state_has_no_last_epoch(run, tmp_path, name):
    (run / name).unlink()
    with pytest.raises(ConfigError, match=f"no {name} in"):
        pack.pack(run, tmp_path / "out.safetensors", {}, last=True)


@pytest.mark.parametrize("name", ["checkpoint.pt", "log.csv"])
def test_a_damaged_state_is_one_message(run, tmp_path, name):
    (run / name).write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="Cannot read the last epoch"):
        pack.pack(run, tmp_path / "out.safetensors", {}, last=True)


def test_no_run(tmp_path):
    with pytest.raises(CheckpointError, match="No model file"):
        pack.pack(tmp_path, tmp_path / "out.safetensors", {})
