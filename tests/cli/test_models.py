"""``matkit models``: trim, grow and pack."""

import json

import pytest
from ase.io import write

from matkit.models import cards, checkpoint
from tests.models.test_trim import network, salt


def test_the_command(cli):
    checkpoint.save(network(), "model.safetensors", {"licence": "MIT"})
    write("salt.extxyz", salt())
    words = ("models", "trim", "model.safetensors", "small.safetensors", "--basis-size", 9)
    words += ("--structures", "salt.extxyz")
    text = cli(*words).stdout
    assert text.count(": R² ") == 3
    card = cards.model_card("small.safetensors")
    assert card.licence == "MIT"
    assert "meV/atom" in card.notes
    assert "already are: small.safetensors" in cli(*words, code=2).stderr
    document = json.loads(cli(*words, "--overwrite", "--json").stdout)
    assert document["parameters"][1] == card.parameters


def test_the_command_needs_structures(cli):
    checkpoint.save(network(species=[2]), "helium.safetensors")
    assert (
        "give --structures"
        in cli("models", "trim", "helium.safetensors", "x.safetensors", code=2).stderr
    )


def test_grow(cli):
    texts = {"licence": "MIT", "valid_elements": "Na, Cl"}
    checkpoint.save(network(), "model.safetensors", texts)
    words = ("models", "grow", "model.safetensors", "large.safetensors", "--elements", "F, Ne")
    text = cli(*words, "--set", "{core: 0.3}").stdout
    assert "F as " in text
    assert "eV/atom, eV/Å or eV/Å² at most" in text
    card = cards.model_card("large.safetensors")
    assert card.licence == "MIT"
    assert card.valid_elements == "Na, Cl"  # what a fine-tuning knew is not forgotten
    assert "F as " in checkpoint.load("large.safetensors")[1]["card"]["changed"]
    assert {"F", "Ne"} <= {*card.elements.split(", ")}
    assert "already are: large.safetensors" in cli(*words, code=2).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "got none"),
        (("--set", "[2]"), "Expected a table such as"),
        (("--set", "{a: 1"), "Expected a table such as"),
        (("--elements", "Xx"), "Xx"),
    ],
)
def test_grow_says_what_is_wrong(cli, words, message):
    checkpoint.save(network(), "model.safetensors")
    text = cli("models", "grow", "model.safetensors", "x.safetensors", *words, code=2).stderr
    assert message in text


def test_pack(cli):
    checkpoint.save(network(), "model.safetensors")
    (cli.folder / "card.yaml").write_text("licence: MIT\ncitation: nobody\n")
    words = ("models", "pack", "model.safetensors", "out.safetensors", "--card", "card.yaml")
    result = cli(*words, "--citation", "somebody")
    assert " MB" in result.stdout
    assert "says no training data (--training-data)" in result.stderr
    card = cards.model_card("out.safetensors")
    assert (card.licence, card.citation) == ("MIT", "somebody")
    assert "already are: out.safetensors" in cli(*words, code=2).stderr
    document = json.loads(cli(*words, "--overwrite", "--json").stdout)
    assert document["card"]["citation"] == "nobody"


def test_pack_tells_of_large_files(cli, monkeypatch):
    monkeypatch.setattr("matkit.models.pack.MOST_BYTES", 10)
    checkpoint.save(network(), "model.safetensors")
    words = ("models", "pack", "model.safetensors", "out.safetensors")
    assert "more than the 8 MB" in cli(*words).stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "of the form `licence: MIT`"),
        ("a: [", "Cannot read the card"),
        ("a: b", "says nothing of 'a'"),
    ],
)
def test_a_card_that_is_none(cli, text, message):
    checkpoint.save(network(), "model.safetensors")
    (cli.folder / "card.yaml").write_text(text)
    words = ("models", "pack", "model.safetensors", "out.safetensors", "--card", "card.yaml")
    assert message in cli(*words, code=2).stderr
