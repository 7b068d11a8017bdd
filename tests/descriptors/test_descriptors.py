"""Descriptors: invariant, the same in batches, and in files."""

import json
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from pyarrow.parquet import read_table
from pymatgen.io.ase import AseAtomsAdaptor
from typer.testing import CliRunner

from matkit import descriptors
from matkit.calculator import MatkitCalculator
from matkit.cli.app import app
from matkit.errors import ConfigError, StructureError
from matkit.models import checkpoint
from tests.derivatives.test_choice import Springs
from tests.potentials.test_nequip import TINY


def network():
    torch.manual_seed(0)
    return checkpoint.build("nequip", TINY)


@pytest.fixture
def calc():
    return MatkitCalculator(network(), "cpu", "float64")


@pytest.fixture
def frames():
    crystal = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    crystal.rattle(0.1, seed=1)
    return [molecule("H2O"), crystal, bulk("NaCl", "rocksalt", 5.6)]


@pytest.fixture
def run(tmp_path, monkeypatch, frames):
    monkeypatch.chdir(tmp_path)
    checkpoint.save(network(), tmp_path / "model.safetensors", {})
    write("many.extxyz", frames)

    def invoke(*words, code=0):
        words = ["descriptors", *words, "-m", "model.safetensors", "--dtype", "float64"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == code, result.output
        return result

    return invoke


def test_they_are_those_of_the_calculator(calc, frames):
    found = descriptors(frames, calc, per="atom", batch_atoms=5)
    for atoms, values in zip(frames, found, strict=True):
        assert values == pytest.approx(calc.get_descriptors(atoms))
    means = descriptors(frames, calc)
    assert means[1] == pytest.approx(found[1].mean(axis=0))


def test_rotations_and_translations_make_no_difference(calc):
    atoms = molecule("H2O")
    turned = atoms.copy()
    turned.rotate(73, (1, 2, 3))
    turned.positions += 1.7
    both = descriptors([atoms, turned], calc)
    assert both[0] == pytest.approx(both[1])


def test_one_structure_will_do(calc):
    salt = bulk("NaCl", "rocksalt", 5.6)
    both = descriptors([salt, AseAtomsAdaptor.get_structure(salt)], calc)
    assert both[0] == pytest.approx(both[1])
    for one in (salt, AseAtomsAdaptor.get_structure(salt)):  # which pymatgen calls a sequence
        assert descriptors(one, calc)[0] == pytest.approx(both[0])
    assert descriptors([], calc) == []


@pytest.mark.parametrize("other", [EMT(), MatkitCalculator(Springs({"atom_energy"}), "cpu")])
def test_calculators_without_descriptors_are_refused(other):
    with pytest.raises(ConfigError, match="with atomic descriptors"):
        descriptors(bulk("Al"), other)


def test_a_structure_that_cannot_be_computed_is_refused(calc):
    with pytest.raises(StructureError, match=r"Structure 1 \(Fe\)"):
        descriptors([molecule("H2O"), Atoms("Fe")], calc)
    charged = molecule("H2O")
    charged.info["charge"] = 1
    with pytest.raises(StructureError, match="charge"):
        descriptors(charged, calc)


@pytest.mark.parametrize(("per", "rows"), [("structure", 3), ("atom", 13)])
def test_arrays(run, calc, frames, per, rows):
    told = run("many.extxyz", "out/d.npz", "--per", per)
    assert "3 structures, 0 left out" in told.stdout
    with np.load("out/d.npz") as found:
        assert found["descriptors"].shape == (rows, 8)
        expected = np.vstack(descriptors(frames, calc, per=per))
        assert found["descriptors"] == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert found["n_atoms"].tolist() == [3, 8, 2]
        assert found["sources"][1] == "many.extxyz[1]"
        assert len(found["numbers"]) == 13


def test_extended_xyz(run, calc, frames):
    run("many.extxyz", "atoms.extxyz", "--per", "atom")
    run("many.extxyz", "mean.extxyz")
    atom, mean = read("atoms.extxyz", 1), read("mean.extxyz", 1)
    assert atom.arrays["descriptors"].mean(axis=0) == pytest.approx(mean.info["descriptors"])


@pytest.mark.parametrize(("per", "rows"), [("structure", 3), ("atom", 13)])
def test_parquet(run, monkeypatch, per, rows):
    monkeypatch.setattr(import_module("matkit.descriptors.files"), "GROUP", 2)
    run("many.extxyz", "d.parquet", "--per", per)
    table = read_table("d.parquet").to_pylist()
    assert len(table) == rows
    assert len(table[0]["descriptors"]) == 8


def test_what_cannot_be_computed_is_left_out(run, frames):
    write("bad.extxyz", [frames[0], Atoms("Fe"), frames[1]])
    told = run("bad.extxyz", "missing.xyz", "d.npz", "--json", code=1)
    document = json.loads(told.stdout)
    assert document["structures"] == 2
    assert [text.partition(":")[0] for text in document["left_out"]] == [
        "bad.extxyz[1]",
        "missing.xyz",
    ]
    with np.load("d.npz") as found:
        assert found["sources"].tolist() == ["bad.extxyz[0]", "bad.extxyz[2]"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Expected files of structures"),
        (("many.extxyz", "out.txt"), "Expected a file *.npz, *.extxyz or *.parquet"),
        (("many.extxyz", "taken.npz"), "there already are: taken.npz"),
        (("iron.extxyz", "d.npz"), "No structure has descriptors: iron.extxyz[0]"),
    ],
)
def test_mistakes_are_explained(run, tmp_path, words, message):
    (tmp_path / "taken.npz").touch()
    write("iron.extxyz", Atoms("Fe"))
    assert message in run(*words, code=2).stderr


def test_parquet_needs_an_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert 'pip install "matkit[parquet]"' in run("many.extxyz", "d.parquet", code=2).stderr
