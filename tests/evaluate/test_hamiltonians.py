"""Kohn-Sham matrices beside their labels: errors, cycles and files."""

import csv
import json

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import write
from ase.units import Hartree
from typer.testing import CliRunner

pytest.importorskip("pyscf")

from matkit.cli.app import app
from matkit.errors import ConfigError, OutputExistsError
from matkit.evaluate.api import EvaluationListener, evaluate
from matkit.evaluate.hamiltonian_files import evaluate_hamiltonians, spread
from matkit.evaluate.hamiltonians import compare_hamiltonians, similarities
from matkit.evaluate.options import EvaluateOptions
from matkit.hamiltonians.calculator import HamiltonianCalculator
from matkit.hamiltonians.states import states_of
from matkit.label import LabellingOptions, label
from matkit.label.hamiltonian_set import read_hamiltonians
from matkit.models import checkpoint

METHOD = "lda/sto-3g"
SHELLS = {1: (0,), 8: (0, 0, 1)}
MODEL = {"species": [1, 8], "shells": SHELLS, "lmax": 2, "channels": 4, "pair_channels": 4}
MODEL |= {"layers": 1, "pair_layers": 1}


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("labels"), np.random.default_rng(0)
    frames = [molecule(name) for name in ("H2O", "H2")]
    for atoms in frames:
        atoms.rattle(0.05, rng=rng)
    write(folder / "frames.extxyz", frames)
    label(folder / "frames.extxyz", folder / "out", LabellingOptions(hamiltonian=METHOD))
    return str(folder / "out")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    return str(checkpoint.save(checkpoint.build("qhnet", MODEL), path, {"level": METHOD}))


def knowing(labelled, shift=0.0):
    """A calculator whose network has learnt the labels, but for a multiple of the overlap."""

    class Known(torch.nn.Module):
        shells = SHELLS

        def check_species(self, structures):
            pass

        def featurize(self, structures):
            return structures

        def forward(self, graph):
            matrix = next(m for m in matrices if len(m) == (7 if 8 in graph.species else 2))
            changed = matrix.clone()
            changed[0, 0] += shift

            class Blocks:
                dense = staticmethod(lambda: [changed])

            return {"hamiltonian": Blocks}

    matrices = labelled.matrices(SHELLS)
    made = HamiltonianCalculator.__new__(HamiltonianCalculator)
    super(HamiltonianCalculator, made).__init__()
    made.network = Known()
    made.method, (made.functional, made.basis) = METHOD, METHOD.split("/")
    return made


def test_a_network_that_knows_the_labels_has_no_errors_and_saves_cycles(labels):
    labelled = read_hamiltonians([labels])
    done = []
    found = compare_hamiltonians(
        knowing(labelled), labelled, [0], lambda *counts: done.append(counts)
    )
    assert done == [(1, 2), (2, 2)]
    assert found.similarity == pytest.approx(1.0, abs=1e-12)
    assert found.errors["hamiltonian"].count == 7 * 7 + 2 * 2
    assert found.errors["diagonal"].count == 25 + 1 + 1 + 1 + 1
    assert found.errors["off_diagonal"].count == 53 - 29
    assert found.errors["occupied"].count == 5 + 1
    assert found.errors["energy"].count == 1, "of the molecules that were asked for alone"
    limits = {"energy": 1e-6, "forces": 1e-3}
    for name, errors in found.errors.items():
        assert errors.mae < limits.get(name, 1e-9), name
    assert found.cycles.molecules == 1
    assert found.cycles.ratio == found.cycles.guess / found.cycles.minao < 0.6


def test_errors_are_those_of_the_entries(labels):
    labelled = read_hamiltonians([labels])
    found = compare_hamiltonians(knowing(labelled, 0.53), labelled, [])
    assert found.errors["hamiltonian"].mae == pytest.approx(2 * 0.53 / 53)
    assert found.errors["diagonal"].mae == pytest.approx(2 * 0.53 / 29)
    assert found.errors["off_diagonal"].mae < 1e-12
    assert found.errors["occupied"].mae > 0.05
    assert found.cycles is None
    assert "energy" not in found.errors


def test_orbitals_have_no_sign():
    matrix = np.diag([1.0, 2.0, 3.0])
    truth = states_of(matrix, np.eye(3), 4)
    turned = truth.coefficients * [-1.0, 1.0, 1.0]
    mixed = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
    for coefficients, expected in ((turned, [1, 1]), (mixed, [0.8, 0.8])):
        states = type(truth)(matrix, np.eye(3), truth.levels, coefficients, 4)
        np.testing.assert_allclose(similarities(states, truth), expected)


def test_the_command_leaves_errors_with_units_and_what_was_asked(labels, model, tmp_path):
    out = tmp_path / "out"
    words = ["evaluate", model, labels, "--hamiltonian", "--scf-molecules", "1", "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "matrix, all entries" in done.output
    assert "times)" in done.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["level"] == METHOD
    assert metrics["units"]["forces"] == "eV/Å"
    assert metrics["scf"]["molecules"] == len(metrics["scf"]["sources"]) == 1
    with open(out / "errors.csv", encoding="utf-8") as file:
        rows = {row["quantity"]: row for row in csv.DictReader(file)}
    row = rows["matrix, all entries"]
    expected = 1e6 * metrics["errors"]["hamiltonian"]["mae"] / Hartree
    assert (row["unit"], float(row["mae"])) == ("µEh", pytest.approx(expected))
    assert "hamiltonian: true" in (out / "config.yaml").read_text()
    given = EvaluateOptions(model=model, struct=[labels], hamiltonian=True, out=str(out))
    with pytest.raises(OutputExistsError):
        evaluate_hamiltonians(given, EvaluationListener())


def test_what_cannot_be_compared(labels, tmp_path):
    given = {"hamiltonian": True, "out": str(tmp_path)}
    with pytest.raises(ConfigError, match="a model and folders of labels"):
        evaluate_hamiltonians(EvaluateOptions(struct=[labels], **given), EvaluationListener())
    path = tmp_path / "m.safetensors"
    checkpoint.save(checkpoint.build("qhnet", MODEL), path, {"level": "pbe/sto-3g"})
    other = EvaluateOptions(model=str(path), struct=[labels], **given)
    with pytest.raises(ConfigError, match="one method, got lda/sto-3g and pbe/sto-3g"):
        evaluate_hamiltonians(other, EvaluationListener())
    with pytest.raises(ConfigError, match="evaluate_hamiltonians"):
        evaluate(other)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"hamiltonian": True, "prefix": "x_"}, "leaves prefix without effect"),
        ({"hamiltonian": True, "symmetrize": "frames"}, "leaves symmetrize without effect"),
        ({"scf_molecules": 3}, "no effect without hamiltonian"),
    ],
)
def test_options_without_effect_are_refused(given, reason):
    with pytest.raises(ValueError, match=reason):
        EvaluateOptions(**given)


def test_a_part_is_evenly_spread():
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(3, 20) == [0, 1, 2]
    assert spread(5, 0) == []
