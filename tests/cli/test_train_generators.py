import json
import subprocess
import sys

import pytest
import yaml

from matkit.cli.training import training_options
from matkit.errors import ConfigError
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.train.generator_options import GeneratorOptions
from matkit.train.options import TrainOptions
from tests.test_layers import ROOT
from tests.train.crystal_files import FLOW, crystals, csv_file


@pytest.fixture
def folder(cli, tmp_path):
    """A folder with crystals to train on and a configuration."""
    csv_file(tmp_path / "train.csv", crystals(12))
    config = {"model": FLOW, "train_file": "train.csv", "valid-fraction": 0.25}
    config |= {"max-num-epochs": 2, "batch_size": 6}
    (tmp_path / "flow.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


@pytest.mark.parametrize("words", [("flow.yaml",), ("--config", "flow.yaml")])
def test_train_a_generator(cli, folder, words):
    result = cli("train", *words, "--name", "mine", "--properties", "size", "--lr", "0.002")
    assert "epoch 2/2, loss" in result.output
    assert ", lattice 0." in result.output
    generator, metadata = checkpoint.load(folder / "results/mine/model.safetensors", Generator)
    assert generator.properties == ("size",)
    assert metadata["card"]["training_data"] == "train.csv"
    settings = yaml.safe_load((folder / "results/mine/config.yaml").read_text())
    assert settings["lr"] == 0.002
    assert (folder / "results/mine/report.html").exists()


def test_an_architecture_given_as_a_flag_is_a_generator_too(cli, folder):
    words = ["--train-file", "train.csv", "--properties", "size", "--batch-size", "6", "--dry-run"]
    assert "steps of" in cli("train", "--model", json.dumps(FLOW), *words).output
    torn = cli("train", "--model", "{name: crystalflow", *words, code=2)
    assert "Expected a table such as {name: facet}" in torn.output


def test_the_document(cli, folder):
    document = json.loads(cli("train", "flow.yaml", "--json", "--no-report").stdout)
    assert document["finished"]
    assert document["last"]["epoch"] == 2
    assert document["errors"] is None


def test_a_dry_run_of_a_published_architecture(cli, folder):
    config = ROOT / "configs" / "generative" / "diffcsp.yaml"
    small = {**yaml.safe_load(config.read_text()), "model": {**FLOW, "max_atoms": 20}}
    (folder / "published.yaml").write_text(yaml.safe_dump(small))
    words = ["--train-file", "train.csv", "--batch-size", "6", "--dry-run"]
    assert "2,000 steps of" in cli("train", "published.yaml", *words).output
    assert not (folder / "results").exists()


def test_flags_of_potentials_are_none_of_generators(cli, folder):
    result = cli("train", "flow.yaml", "--energy-weight", "2", code=2)
    assert "Unknown option 'energy_weight'" in result.output
    assert "generates_species" in result.output
    result = cli("train", "--model", "facet-s", "--cell", "given", code=2)
    assert "Unknown option 'cell'" in result.output


def test_one_configuration_at_a_time(cli, folder):
    assert "one after another" in cli("train", "flow.yaml", "flow.yaml", code=2).output
    assert "one after another" in cli("train", "flow.yaml", "-c", "flow.yaml", code=2).output


def test_the_template_trains(cli, folder):
    text = cli("template", "train-generator").stdout
    assert "`matkit train --config FILE`" in text
    values = yaml.safe_load(text) | yaml.safe_load((folder / "flow.yaml").read_text())
    values = {key.replace("-", "_"): value for key, value in values.items()}
    (folder / "all.yaml").write_text(yaml.safe_dump(values | {"report": False}))
    cli("train", "all.yaml")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, TrainOptions),
        ({"model": "facet"}, TrainOptions),
        ({"model": "nobody"}, TrainOptions),
        ({"model": {"name": "nequip"}}, TrainOptions),
        ({"model": "crystalflow"}, GeneratorOptions),
        ({"model": {"name": "diffcsp"}}, GeneratorOptions),
    ],
)
def test_the_models_name_says_what_is_trained(given, expected):
    assert training_options(None, given) is expected


def test_a_flag_wins_over_the_file(folder):
    assert training_options(str(folder / "flow.yaml"), {"model": "facet-s"}) is TrainOptions
    with pytest.raises(ConfigError, match="Cannot read the configuration"):
        training_options(str(folder / "missing.yaml"), {})


@pytest.mark.slow
def test_two_processes(folder):
    command = [sys.executable, "-m", "matkit", "train", "flow.yaml", "--device", "cpu"]
    # One validation batch: the second process has none.
    words = ["--devices", "2", "--batch-size", "2", "--max-num-epochs", "5"]
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 5/5") == 1
    assert checkpoint.load(folder / "results/model/model.safetensors", Generator)
