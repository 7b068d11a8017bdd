import subprocess
import sys

import pytest
import torch
import yaml
from ase.io import write

from matkit.models import checkpoint
from matkit.nn.references import references_of
from tests.train.labelled import TINY, frames, labelled_file


@pytest.fixture
def folder(cli, tmp_path):
    """A folder with files to train on and a configuration."""
    labelled_file(tmp_path / "train.xyz", frames(8))
    labelled_file(tmp_path / "valid.xyz", frames(4, seed=1))
    config = {"train_file": "train.xyz", "valid_file": ["valid.xyz"], "model": TINY}
    config |= {"max-num-epochs": 3, "batch_size": 4, "report": False}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def test_train_then_relax_then_dynamics(cli, folder, monkeypatch):
    result = cli("train", "-c", "train.yaml", "--name", "mine", "--stress_weight", "1")
    assert "epoch 3/3" in result.output
    settings = yaml.safe_load((folder / "results/mine/config.yaml").read_text())
    assert settings["stress_weight"] == 1.0
    assert settings["max_num_epochs"] == 3
    monkeypatch.undo()  # from here on the model is the real one
    monkeypatch.chdir(folder)
    write("cu.xyz", frames(1)[0].copy())
    model = "results/mine/model.safetensors"
    cli("relax", "cu.xyz", "-m", model, "--steps", "2", "--fmax", "10")
    cli("md", "cu.xyz", "-m", model, "--steps", "3", "--suffix", "-md")
    assert (folder / "results/cu-relaxed.extxyz").exists()


def test_finetune_the_trained_model(cli, folder):
    cli("train", "-c", "train.yaml", "--name", "base")
    base = "results/base/model.safetensors"
    words = ["--train-file", "train.xyz", "--valid-file", "valid.xyz", "--max-num-epochs", "2"]
    cli("finetune", "--foundation-model", base, *words, "--name", "tuned", "--no-report")
    card = checkpoint.load(folder / "results/tuned/model.safetensors")[1]["card"]
    assert card["fine_tuned_from"] == base
    assert card["epoch"] in (1, 2)


def test_tables_can_be_given_as_flags(cli, folder):
    cli("train", "-c", "train.yaml", "--E0s", "{Cu: -1.0, Au: -2.0}", "--max-num-epochs", "1")
    network = checkpoint.load(folder / "results/model/model.safetensors")[0]
    assert references_of(network).shift.tolist() == [-1.0, -2.0]


def test_what_is_wrong_is_said_in_one_message(cli, folder):
    result = cli("train", "-c", "train.yaml", "--energy-key", "dft_energy", code=2)
    assert "dft_energy" in result.output
    result = cli("train", "-c", "train.yaml", "--los", "mse", code=2)
    assert "No such option" in result.output
    (folder / "train.yaml").write_text("learning_rate: 3\n")
    assert "Unknown option 'learning_rate'" in cli("train", "-c", "train.yaml", code=2).output


def test_one_trajectory_is_split_for_validation(cli, folder):
    """It was refused: all structures belong to one group."""
    labelled_file(folder / "md.xyz", frames(8, elements=("Cu",)))
    words = ["--train-file", "md.xyz", "--max-num-epochs", "1", "--no-report"]
    (folder / "tiny.yaml").write_text(yaml.safe_dump({"model": TINY}))
    result = cli("train", "-c", "tiny.yaml", *words)
    assert "1 of 8 structures kept for validation" in result.output
    assert "cut into blocks of successive structures" in result.output
    assert "The validation set is one structure" in result.output


def test_a_dry_run_says_what_it_would_cost(cli, folder):
    result = cli("train", "-c", "train.yaml", "--dry-run")
    assert "6 steps of" in result.output
    assert "files in" not in result.output
    assert not (folder / "results").exists()


def test_the_document(cli, folder):
    import json

    document = json.loads(cli("train", "-c", "train.yaml", "--json").stdout)
    assert document["finished"]
    assert document["last"]["epoch"] == 3


@pytest.mark.slow
def test_two_processes_learn_what_one_does(folder):
    # Each step sees all eight structures: as one batch, or as one of four in each process.
    changes = {"loss": "mse", "batch_size": 8, "max_num_epochs": 4, "default_dtype": "float64"}
    config = yaml.safe_load((folder / "train.yaml").read_text())
    models = []
    for devices in (1, 2):
        changes |= {"devices": devices, "batch_size": 8 // devices, "name": f"on-{devices}"}
        (folder / "train.yaml").write_text(yaml.safe_dump({**config, **changes, "device": "cpu"}))
        command = [sys.executable, "-m", "matkit", "train", "-c", "train.yaml"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("epoch 4/4") == 1
        models.append(checkpoint.load(folder / f"results/on-{devices}/model.safetensors")[0])
    one, two = (dict(model.named_parameters()) for model in models)
    for name, p in one.items():
        assert torch.allclose(p, two[name], rtol=0, atol=1e-8), name
