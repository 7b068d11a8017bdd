"""Averages over turned copies on the command line, with a small network that knows no symmetry."""

import json

import pytest
import torch
from ase.build import molecule
from ase.io import read, write

from matkit.models import checkpoint
from tests.cli.conftest import Cli
from tests.evaluate.labelled import frames


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A network without symmetry, labelled structures, and a molecule that lies in two ways."""
    monkeypatch.chdir(tmp_path)
    cli = Cli(tmp_path)  # with models, not with EMT in their place
    torch.manual_seed(0)
    small = {"hidden": 8, "filters": 8, "gaussians": 4, "layers": 1, "group_channels": 2}
    made = checkpoint.build("faenet", {"species": [1, 8, 11, 17], "cutoff": 4.0, **small})
    with torch.no_grad():
        made.network.of_vector.weight.mul_(10)  # so that the way a molecule lies counts
    checkpoint.save(made, cli.folder / "loose.safetensors", {})
    write("data.extxyz", frames())
    water, other = molecule("H2O2"), molecule("H2O2")
    other.rotate(70, (1, 2, 3))
    write("water.extxyz", [water, other])
    return cli


def energies(files, out, *words):
    files("singlepoint", "water.extxyz", "--model", "loose.safetensors", "--out", out, *words)
    return [atoms.get_potential_energy() for atoms in results(files, out)]


def results(files, out):
    (path,) = (files.folder / out).glob("*.extxyz")
    return read(path, ":")


def test_an_average_does_not_depend_on_how_a_molecule_lies(files):
    alone, averaged = energies(files, "alone"), energies(files, "frames", "--symmetrize", "frames")
    assert abs(alone[0] - alone[1]) > 1e-5
    assert averaged[0] == pytest.approx(averaged[1], abs=1e-10)
    summary = json.loads(next((files.folder / "frames").glob("*.json")).read_text())
    assert summary["model"]["symmetrize"] == "frames"


def test_evaluation_says_how_far_predictions_turn_with_structures(files):
    found = []
    for out, words in (("alone", ()), ("averaged", ("--symmetrize", "grid:120"))):
        told = files(
            "evaluate", "loose.safetensors", "data.extxyz", "--equivariance", "--out", out, *words
        )
        assert "forces, turned back, by" in told.stdout
        found.append(json.loads((files.folder / out / "metrics.json").read_text())["equivariance"])
    assert found[0]["structures"] == len(frames())
    for name in ("energy", "forces", "residual"):
        assert found[1][name] < 0.2 * found[0][name]


def test_results_say_how_much_the_energy_depends_on_how_they_lie(files):
    for out, words in (("alone", ()), ("averaged", ("--symmetrize", "frames"))):
        energies(files, out, "--residual", *words)
    alone, averaged = (
        [a.info["rotational_residual"] for a in results(files, out)]
        for out in ("alone", "averaged")
    )
    assert min(alone) > 1e-5 > 1e-9 > max(averaged)


def test_an_unknown_average_is_refused(files):
    words = ("water.extxyz", "--model", "loose.safetensors", "--symmetrize", "grid:7")
    assert "There is no grid of 7" in files("singlepoint", *words, code=2).output
