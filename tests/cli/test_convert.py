"""``matkit models convert``, and MACE's files where a model is named."""

import json
import tarfile

import pytest
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from matkit.cli.app import app
from matkit.models import cards
from tests.models.test_mace_files import ARCHIVE


@pytest.fixture
def files_here(tmp_path, monkeypatch):
    """MACE's files in the working folder."""
    monkeypatch.chdir(tmp_path)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(filter="data")


def test_convert(cli, files_here):
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


def test_convert_asks_for_the_head(cli, files_here):
    done = cli("models", "convert", "small-heads.model", "out.safetensors", code=2)
    assert "heads first, second: say which" in done.stderr


def test_info_of_a_file_of_mace(cli, files_here):
    text = cli("models", "info", "small-heads.model").stdout
    assert "H, O, Si" in text
    assert "first, second" in text


@pytest.mark.parametrize(("name", "code"), [("small-weights.pt", 0), ("small-heads.model", 2)])
def test_relax_with_a_file_of_mace(files_here, name, code):
    """Of several heads none is taken by chance."""
    write("si.extxyz", bulk("Si"))
    words = ["relax", "-m", name, "si.extxyz", "--steps", "2"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code, result.output
    assert ("si.extxyz Si2" if code == 0 else "first, second: say which") in result.output
