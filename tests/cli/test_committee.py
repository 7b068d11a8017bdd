"""Committees and dispersion on the command line, with models of their own."""

import json

import pytest
import torch
from ase.build import bulk
from ase.io import read
from typer.testing import CliRunner

from matkit.cli.app import MORE, app
from matkit.cli.configs import ALL
from matkit.models import checkpoint
from tests.potentials.test_nequip import TINY

COMMITTEE = ("-m", "a.safetensors, b.safetensors")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in a folder with two models and a crystal."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        network = checkpoint.build("nequip", TINY)
        checkpoint.save(network, tmp_path / f"{name}.safetensors", {"level": f"level {name}"})
    bulk("NaCl", "rocksalt", 5.6).write("nacl.xyz")

    def invoke(*words, code=0):
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == code, result.output
        return result

    return invoke


def test_deviations_are_shown_and_written(run, tmp_path):
    told = run("singlepoint", "nacl.xyz", *COMMITTEE)
    assert "of forces at most" in told.stdout
    frame = read(tmp_path / "results" / "nacl-singlepoint.extxyz")
    assert frame.info["energy_std"] > 0
    row = json.loads((tmp_path / "results" / "nacl-summary.json").read_text())["structures"][0]
    assert row["energy_std"] == pytest.approx(frame.info["energy_std"])
    told = run("md", "nacl.xyz", "--steps", "1", *COMMITTEE)
    assert "deviation of forces at most" in told.stdout


def test_dispersion_is_added(run, tmp_path):
    pytest.importorskip("dftd3", reason='needs pip install "matkit[dispersion]"')
    energies = []
    for out, words in (("plain", ()), ("d3", ("--dispersion", "d3bj"))):
        run("singlepoint", "nacl.xyz", "-m", "a.safetensors", "--out", out, *words)
        energies.append(read(f"{out}/nacl-singlepoint.extxyz").get_potential_energy())
    assert energies[1] < energies[0] - 0.1
    summary = json.loads((tmp_path / "d3" / "nacl-summary.json").read_text())
    assert summary["model"]["dispersion"] == "d3bj"
    assert summary["options"]["dispersion_functional"] == "pbe"


def test_an_unknown_functional_is_refused(run):
    pytest.importorskip("dftd3", reason='needs pip install "matkit[dispersion]"')
    words = ("--dispersion", "d3", "--dispersion-functional", "lda")
    told = run("singlepoint", "nacl.xyz", "-m", "a.safetensors", *words, code=2)
    assert "no parameters of d3 for the functional 'lda'" in told.output


def test_dispersion_without_a_potential_is_refused(run):
    told = run("generate", "crystal", "--formula", "NaCl", "--dispersion", "d3", code=2)
    assert "give relax" in told.output
    told = run("evaluate", "crystals", "folder", "--dispersion", "d3", code=2)
    assert "give its model" in told.output


def test_every_command_that_computes_energies_takes_dispersion():
    """Generators and descriptors have no energies that it could be added to.

    An example for LAMMPS is a script, which computes nothing before it was read.
    """
    others = {"train", "finetune", "descriptors", "predict", "lammps-example"}
    commands = {name: model.model_fields for name, model in {**ALL, **MORE}.items()}
    takes = {name for name, fields in commands.items() if fields.keys() & {"model", "calculator"}}
    assert {name for name in takes if "dispersion" not in commands[name]} == others & takes
