import json

from ase.io import write

from matkit.models import cards, checkpoint
from tests.models.test_trim import network, salt


def test_the_command(cli):
    checkpoint.save(network(), "model.safetensors", {"licence": "MIT"})
    write("salt.extxyz", salt())
    words = ("trim", "model.safetensors", "small.safetensors", "--basis-size", 9)
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
    assert "give --structures" in cli("trim", "helium.safetensors", "x.safetensors", code=2).stderr
