"""Generators whose weights come with matkit; a small untrained one stands for them."""

import json
import subprocess

import pytest
import torch

from matkit.cli.app import app
from matkit.cli.display import Display
from matkit.cli.generate import run_generate
from matkit.crystals.generation import CrystalOptions
from matkit.errors import CheckpointError, UnknownNameError
from matkit.interfaces import Generator
from matkit.models import cards, checkpoint, shipped, zoo
from matkit.options import build
from tests.test_layers import ROOT

SMALL = {"width": 8, "layers": 1, "harmonics": 2, "time_channels": 4, "miller": 0}
CARD = {"description": "a test", "licence": "MIT", "training_data": "nothing", "n_atoms": {"2": 1}}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder with one generator, whose name it returns."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    return come_with("crystalflow-perov5")


def come_with(name):
    torch.manual_seed(0)
    kwargs = {"species": [11, 17], "max_atoms": 4, **SMALL}
    generator = checkpoint.build("crystalflow", kwargs, Generator)
    checkpoint.save(generator, shipped.FOLDER / f"{name}.safetensors", CARD)
    return name


def options(tmp_path, **changes):
    values = {"formula": "NaCl", "num_samples": 1, "steps": 1, "out": str(tmp_path / "out")}
    return build(CrystalOptions, values | changes)


@pytest.mark.parametrize("named", [True, False])
def test_crystals_are_generated_by_name_or_without_one(weights, tmp_path, named):
    chosen = options(tmp_path, model=weights if named else None)
    assert run_generate(chosen, "crystal", Display(quiet=True)) == 0
    model = json.loads((tmp_path / "out" / "metrics.json").read_text())["model"]
    assert (model["name"], model["licence"]) == (weights, "MIT")


def test_the_most_general_one_is_taken_if_none_is_named(weights):
    assert shipped.find_generator(None).stem == weights
    come_with("another")
    assert shipped.find_generator(None).stem == weights
    come_with("crystalflow-mp20")
    assert shipped.find_generator(None).stem == "crystalflow-mp20"


def test_a_file_may_be_named_too(weights):
    path = shipped.FOLDER / f"{weights}.safetensors"
    assert shipped.find_generator(path) == path


def test_it_is_said_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    with pytest.raises(UnknownNameError, match=r"none of crystalflow-mp20.*matkit train"):
        shipped.find_generator(None)
    come_with("crystalflow-perov5")
    with pytest.raises(UnknownNameError, match="Did you mean 'crystalflow-perov5'"):
        shipped.find_generator("crystalflow-perov")


def test_it_has_a_card(weights):
    listed = cards.models()[weights]
    assert listed == cards.model_card(weights)
    assert listed == cards.model_card(shipped.FOLDER / f"{weights}.safetensors")
    assert (listed.kind, listed.architecture) == ("generator", "crystalflow")
    assert (listed.licence, listed.elements, listed.max_atoms) == ("MIT", "Na, Cl", 4)
    generator, _ = zoo.load_generator(weights)
    assert listed.parameters == sum(p.numel() for p in generator.parameters())
    others = [card for name, card in cards.models().items() if name != weights]
    assert {card.kind for card in others if "untrained" not in card.kind} == {"potential"}


def test_it_is_no_potential(weights):
    message = "Expected a potential, but crystalflow-perov5 is a generator"
    with pytest.raises(UnknownNameError, match=message):
        zoo.load(weights)
    with pytest.raises(CheckpointError, match="holds a generator"):
        checkpoint.load(shipped.FOLDER / f"{weights}.safetensors")


@pytest.mark.parametrize("name", ["nequip-universal", "sevennet-0"])
def test_a_potential_given_as_generator_is_called_one(name):
    with pytest.raises(UnknownNameError, match=f"{name} is a potential.*Generators: crystalflow"):
        zoo.load_generator(name)


def test_unknown_names_list_only_what_fits():
    with pytest.raises(UnknownNameError, match="Known: ") as potentials:
        zoo.load("no-such")
    assert "nequip-universal" in str(potentials.value)
    assert "crystalflow" not in str(potentials.value)
    with pytest.raises(UnknownNameError, match="Known: ") as generators:
        zoo.load_generator("no-such")
    assert "crystalflow-mp20" in str(generators.value)
    assert "universal" not in str(generators.value)


def test_it_is_listed(weights, capsys):
    app(["models", "list", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)[weights]["kind"] == "generator"
    app(["models", "info", weights, "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["max_atoms"] == 4


def test_weights_of_our_own_are_not_ignored_by_git():
    for name, ignored in (("matkit/models/weights/a.safetensors", 1), ("b.safetensors", 0)):
        done = subprocess.run(["git", "-C", ROOT, "check-ignore", "-q", name], check=False)
        if done.returncode == 128:
            pytest.skip("not a git repository")
        assert done.returncode == ignored


@pytest.mark.parametrize("path", shipped.shipped().values(), ids=lambda path: path.stem)
def test_what_is_shipped_is_small_and_described(path):
    assert path.stat().st_size <= shipped.MOST_BYTES
    card = cards.model_card(path.stem)
    for name in ("description", "licence", "source", "citation", "training_data"):
        assert getattr(card, name) != cards.NOT_STATED, name
    assert not card.training_data.startswith("/"), "a path of whoever trained it"
