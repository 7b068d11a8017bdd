"""What the experiments on heads compute beside the heads: order parameters, and distances."""

import json
from importlib import import_module

import pytest
import torch
from ase.build import bulk

from matkit.data.ase import from_ase
from tests.test_layers import ROOT


@pytest.fixture
def experiment(monkeypatch):
    """Import a module of experiments/ by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    return import_module


@pytest.mark.parametrize(
    ("lattice", "expected"),
    [
        ("fcc", [0.19094, 0.57452, -0.15932, -0.01316]),
        ("hcp", [0.09722, 0.48476, 0.13410, -0.01244]),
    ],
)
def test_order_parameters_are_those_of_perfect_lattices(experiment, lattice, expected):
    """The first two of fcc are √(7/192) and 13/(16√2); the others as in the literature."""
    clouds = experiment("clouds")
    points = clouds.clouds([clouds.lattice(lattice, (8 / 3) ** 0.5, 3)])
    assert clouds.order_parameters(points)[0].tolist() == pytest.approx(expected, abs=2e-5)


def test_a_random_packing_has_no_near_neighbors(experiment):
    clouds = experiment("clouds")
    atoms = clouds.packing(seed=0, atoms=40)
    distances = atoms.get_all_distances(mic=True)[~torch.eye(40, dtype=torch.bool).numpy()]
    assert distances.min() > 0.7 * clouds.NEAREST


def test_shifts_of_whole_crystals_are_no_distance(experiment):
    relaxer = experiment("relaxer")
    wanted = from_ase(bulk("NaCl", "rocksalt", a=5.6, cubic=True))
    moved = wanted.positions + torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    assert relaxer.apart(wanted.replace(positions=moved), wanted).abs().max() < 1e-12
    moved[0, 0] += 0.8
    found = relaxer.distances("", wanted.replace(positions=moved), wanted)
    assert found["mean RMSD, Å"] == pytest.approx(0.8 * (7 / 64) ** 0.5)


def test_formulas_are_held_out_whatever_their_cell(experiment):
    relaxer = experiment("relaxer")
    cells = [bulk(name, "rocksalt", a=4.2) for name in ("MgO", "CaO", "SrO", "BaO", "NiO", "FeO")]
    held = [relaxer.is_held_out(atoms) for atoms in cells]
    assert held == [relaxer.is_held_out(atoms * 2) for atoms in cells]
    assert len(set(held)) == 2


def test_errors_of_forecasts(experiment):
    wanted = torch.zeros(1, 2, 3, 3)
    found = wanted + torch.tensor([0.0, 1.0]).view(1, 2, 1, 1) * torch.tensor([0.0, 3.0, 4.0])
    errors = experiment("forecast").errors("some", found, wanted)
    assert errors == {"forecast": "some", "ADE, Å": 2.5, "FDE, Å": 5.0}


def test_rows_of_other_networks_are_kept(experiment, tmp_path):
    keep, path = experiment("symmetry").keep, tmp_path / "rows.json"
    keep(path, [{"network": "a", "error": 1}, {"network": "b", "error": 2}])
    keep(path, [{"network": "a", "error": 3}])
    kept = {row["network"]: row["error"] for row in json.loads(path.read_text())}
    assert kept == {"a": 3, "b": 2}


def test_trainings_of_networks_that_differ_in_their_use_are_shared(experiment):
    symmetry = experiment("symmetry")
    labels = {name: symmetry.label(one, "Si") for name, one in symmetry.NETWORKS.items()}
    twins = [
        labels.pop(f"transformer, {use}") for use in ("augmentation", "grid:24 at evaluation only")
    ]
    assert twins[0] == twins[1] == "Si-transformer-augmentation"
    assert len({*labels.values(), twins[0]}) == len(labels) + 1
