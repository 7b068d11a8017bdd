"""Charges and multiplicities that a model ignores, by every command."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from typer.testing import CliRunner

from matkit.cli.app import app
from matkit.models import checkpoint
from tests.evaluate.labelled import network

MODEL = "water.safetensors"
TINY = "{name: nequip, irreps: [4x0e, 4x0e], lmax: 0, cutoff: 3.0, radial_hidden: [4]}"
COMMANDS = {
    "singlepoint": ["singlepoint", "ion.xyz", "--model", MODEL],
    "relax": ["relax", "ion.xyz", "--model", MODEL, "--steps", "1"],
    "md": ["md", "ion.xyz", "--model", MODEL, "--steps", "1"],
    "vibrations": ["vibrations", "ion.xyz", "--model", MODEL, "--no-relax"],
    "ts": ["ts", "ion.xyz", "--model", MODEL, "--steps", "1", "--no-irc"],
    "evaluate": ["evaluate", MODEL, "ion.xyz"],
    "train": ["train", "--train-file", "ion.xyz", "--valid-file", "other.xyz", "--model", TINY],
    "finetune": [
        *("finetune", "--train-file", "ion.xyz", "--valid-file", "other.xyz"),
        *("--foundation-model", MODEL),
    ],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model of water that knows no charges, and a file with an ion."""
    monkeypatch.chdir(tmp_path)
    checkpoint.save(network((1, 8)), MODEL, {})
    for name, count in (("ion.xyz", 4), ("other.xyz", 1)):
        write(name, [labelled(seed + 10 * count) for seed in range(count)])
    write("ion.xyz", labelled(0))
    return tmp_path


def labelled(seed, **info) -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.02, seed=seed)
    atoms.info.update({"charge": "+1", "spin": 2, **info})
    forces = np.random.default_rng(seed).normal(size=(3, 3))
    energy = -1.0 - 0.1 * seed
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces - forces.mean(axis=0))
    return atoms


def run(words):
    return CliRunner().invoke(app, words)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_charge_that_the_model_ignores_is_refused_with_the_way_out(folder, command):
    result = run(COMMANDS[command])
    assert result.exit_code == 2, result.output
    text = " ".join(result.output.split())
    assert "charge 1 and spin 2" in text
    assert "--ignore-charge" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("command", ["singlepoint", "relax", "md", "vibrations"])
def test_it_is_said_beside_the_result_that_a_charge_is_ignored(folder, command):
    result = run([*COMMANDS[command], "--ignore-charge"])
    assert result.exit_code in (0, 1), result.output
    assert "charge 1 and spin 2 ignored" in " ".join(result.output.split())
    (row,) = json.loads((folder / "results" / "ion-summary.json").read_text())["structures"]
    assert row["ignored"] == "charge 1 and spin 2"


def test_a_search_for_a_transition_state_says_what_it_ignores(folder):
    result = run([*COMMANDS["ts"], "--ignore-charge"])
    assert "charge 1 and spin 2 ignored" in " ".join(result.output.split())
    metrics = json.loads((folder / "ts" / "metrics.json").read_text())
    assert "charge 1 and spin 2 ignored" in metrics["warnings"]


def test_an_evaluation_says_what_it_ignores(folder):
    result = run([*COMMANDS["evaluate"], "--ignore-charge"])
    assert result.exit_code == 0, result.output
    metrics = json.loads((folder / "results" / "evaluation" / "metrics.json").read_text())
    assert metrics["ignored"] == ["charge 1 and spin 2 ignored (1 structures)"]


def test_labels_of_a_charge_that_the_model_ignores(folder):
    words = ["label", "ion.xyz", "--calculator", MODEL, "--out", "labels"]
    assert "charge 1 and spin 2" in run(words).output
    result = run([*words[:-1], "again", "--ignore-charge"])
    assert result.exit_code == 0, result.output
    assert [atoms for path in (folder / "again").glob("*.extxyz") for atoms in read(path, ":")]


def test_a_neutral_singlet_is_trained_on_without_a_word(folder):
    for name, count in (("ion.xyz", 4), ("other.xyz", 2)):
        write(name, [labelled(seed + 10 * count, charge=0, spin=1) for seed in range(count)])
    result = run([*COMMANDS["train"], "--epochs", "1", "--no-report", "--quiet"])
    assert result.exit_code == 0, result.output


def test_a_training_that_ignores_charges_ends_and_says_so(folder):
    words = [*COMMANDS["train"], "--epochs", "1", "--no-report", "--ignore-charge"]
    result = run(words)
    assert result.exit_code == 0, result.output
    assert "charge 1 and spin 2 ignored" in " ".join(result.output.split())
    (path,) = folder.rglob("model.safetensors")
    domain = checkpoint.load(path)[1]["card"]["domain"]
    assert domain["closest"].keys() == {"H-H", "H-O"}


def test_labels_say_what_they_ignore(folder):
    words = ["label", "ion.xyz", "labels", "--calculator", MODEL, "--ignore-charge"]
    result = run(words)
    assert result.exit_code == 0, result.output
    assert "1 with a charge or multiplicity that the model ignores" in result.stdout
    assert read("labels/labels.extxyz").info["ignored"] == "charge 1 and spin 2"
    assert json.loads((folder / "labels" / "labels.json").read_text())["ignored"] == 1
