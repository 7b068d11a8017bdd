"""``matkit models convert``, and MACE's files where a model is named."""

import json
import tarfile

import pytest
from ase.build import bulk
from ase.io import write

from matkit.models import cards
from tests.models.test_mace_files import ARCHIVE


@pytest.fixture
def files():
    """MACE's files in the working folder."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(filter="data")


def test_convert(cli, files):
    words = ("models", "convert", "small-heads.model", "out.safetensors", "--head", "second")
    done = cli(*words)
    assert "head second: 216 parameters for H, O, Si" in done.stdout
    assert "licence: not stated (--licence)" in done.stderr
    assert "already are: out.safetensors" in cli(*words, code=2).stderr
    document = json.loads(cli(*words, "--overwrite", "--json", "--licence", "MIT").stdout)
    assert document["card"]["head"] == "second"
    card = cards.model_card("out.safetensors")
    assert card.licence == "MIT"
    assert "'second' of first, second" in card.notes


def test_convert_asks_for_the_head(cli, files):
    done = cli("models", "convert", "small-heads.model", "out.safetensors", code=2)
    assert "heads first, second: say which" in done.stderr


def test_info_of_a_file_of_mace(cli, files):
    text = cli("models", "info", "small-heads.model").stdout
    assert "H, O, Si" in text
    assert "first, second" in text


def test_relax_with_a_file_of_mace(cli, files):
    write("si.extxyz", bulk("Si"))
    text = cli("relax", "si.extxyz", "-m", "small-weights.pt", "--steps", 2).stdout
    assert "Si2" in text
