import json

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from typer.testing import CliRunner

from matkit.cli.app import app


class Cli:
    """Run the command line in a folder of its own, with EMT in the place of the model."""

    def __init__(self, folder):
        self.folder = folder
        self.loaded = []

    def __call__(self, *words, code=0):
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    def summary(self, stem, out="results"):
        return json.loads((self.folder / out / f"{stem}-summary.json").read_text())


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Cli(tmp_path)
    made.calculator = EMT

    def load(config):
        made.loaded.append(config)
        return made.calculator()

    monkeypatch.setattr("matkit.cli.loading.load_model", load)
    return made


@pytest.fixture
def copper(cli):
    """A strained crystal in a file."""
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
    atoms.rattle(0.05, seed=1)
    write("cu.xyz", atoms)
    return "cu.xyz"
