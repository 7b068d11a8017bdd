from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import read

from matkit import demo
from matkit.errors import MissingExtraError
from matkit.generative.moleculeflow import MoleculeFlow
from matkit.interfaces import Generator
from matkit.models import checkpoint, shipped
from matkit.molecules.perception import structures_of
from matkit.simulate import relax
from matkit.structures import cat
from tests.molecules.files import perceived, tiny_generator
from tests.simulate.calculators import Springs

SMALL = {"width": 8, "layers": 1, "harmonics": 2, "time_channels": 4, "miller": 0}


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """A folder of generators that come with matkit, empty at first."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    return tmp_path / "weights"


def come_with(weights, **changes):
    torch.manual_seed(0)
    kwargs = {"species": [8, 11, 17], "max_atoms": 5, **SMALL, **changes}
    generator = checkpoint.build("crystalflow", kwargs, Generator)
    checkpoint.save(generator, weights / "crystalflow-perov5.safetensors", {"licence": "MIT"})


def test_the_demonstration_writes_its_files_twice(tmp_path, monkeypatch, capsys):
    class Quick(Springs):
        info = {"licence": "none"}  # noqa: RUF012

    monkeypatch.setattr(demo, "load_calculator", lambda name, dtype: Quick())
    monkeypatch.setattr(demo, "relax", lambda atoms, calc, **_: relax(atoms, Springs(), fmax=0.5))
    for _ in range(2):
        demo.main(tmp_path / "demo", steps=6)
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"silicon.png", "silicon-stats.csv", "silicon-traj.extxyz"} <= names
    assert (tmp_path / "demo" / "silicon.png").read_bytes().startswith(b"\x89PNG")
    assert len(read(tmp_path / "demo" / "wurtzite-relaxed.extxyz")) == 16
    printed = capsys.readouterr().out
    assert "converged: True" in printed
    assert "Left out. Expected the name or the file of a generator of crystals" in printed
    assert "Left out. Expected the name or the file of a generator of molecules" in printed


def test_crystals_are_generated_if_a_generator_comes_with_matkit(
    tmp_path, weights, monkeypatch, capsys
):
    for name, value in {"MODEL": None, "FORMULA": "NaCl", "SYSTEM": "Na-O-Cl"}.items():
        monkeypatch.setattr(demo, name, value)
    come_with(weights)
    demo.new_crystals(tmp_path)
    assert [len(read(tmp_path / f / "generated.extxyz", ":")) for f in ("NaCl", "free")] == [8, 4]
    assert (tmp_path / "NaCl" / "report.html").exists()
    printed = capsys.readouterr().out
    assert "Model crystalflow-perov5, licence: MIT" in printed
    assert "8 crystals (NaCl), 0 of them relaxed" in printed


def test_molecules_go_from_the_generator_to_their_vibrations(
    tmp_path, weights, monkeypatch, capsys
):
    pytest.importorskip("tblite")
    ethyne, water = (structures_of(perceived(molecule(name))) for name in ("C2H2", "H2O"))
    monkeypatch.setattr(MoleculeFlow, "sample", lambda *_args: cat([water, water, water, ethyne]))
    weights.mkdir()
    Path(tiny_generator(tmp_path)).rename(weights / "moleculeflow-qm9.safetensors")
    demo.new_molecules(tmp_path)
    printed = capsys.readouterr().out
    assert "4 molecules (C2H2, H2O), 4 of them relaxed" in printed
    assert "0: O, 3 modes, highest 3" in printed
    assert "3: C#C, 7 modes, highest 3" in printed
    assert printed.count("converged") == 4


def test_without_tblite_a_model_with_hessians_does_it(tmp_path, monkeypatch):
    monkeypatch.undo()  # it comes with matkit
    result = demo.vibrations_of(molecule("H2O"), demo.HESSIANS)
    assert result.method == "predict"
    assert len(result.modes.frequencies) == 3


def test_molecules_are_left_out_without_rdkit(tmp_path, weights, monkeypatch, capsys):
    weights.mkdir()
    Path(tiny_generator(tmp_path)).rename(weights / "moleculeflow-qm9.safetensors")

    def missing(_options):
        raise MissingExtraError("needs RDKit")

    monkeypatch.setattr(demo, "generate", missing)
    demo.new_molecules(tmp_path)
    assert "Left out. needs RDKit" in capsys.readouterr().out


def test_a_generator_of_species_makes_free_crystals_only(tmp_path, weights, monkeypatch, capsys):
    monkeypatch.setattr(demo, "MODEL", None)
    come_with(weights, generates_species=True)
    demo.new_crystals(tmp_path)
    assert len(read(tmp_path / "free" / "generated.extxyz", ":")) == 4
    assert "No SrTiO3: the model finds the species itself" in capsys.readouterr().out


def test_a_generator_that_can_do_both_does(tmp_path, weights, monkeypatch):
    for name, value in {"MODEL": None, "FORMULA": "NaCl"}.items():
        monkeypatch.setattr(demo, name, value)
    come_with(weights, generates_species=True, given=0.5)
    demo.new_crystals(tmp_path)
    made = {f: read(tmp_path / f / "generated.extxyz", ":") for f in ("NaCl", "free")}
    assert {atoms.get_chemical_formula() for atoms in made["NaCl"]} == {"ClNa"}
    assert len({atoms.get_chemical_formula() for atoms in made["free"]}) > 1


def test_the_molecule_stands_on_the_surface():
    atoms = demo.molecule_on_surface()
    carbon, oxygen = (atoms.symbols == symbol for symbol in "CO")
    assert atoms.positions[oxygen, 2] > atoms.positions[carbon, 2] > atoms.positions[:12, 2].max()
    assert atoms.get_distances(13, range(12)).min() == pytest.approx(1.9, abs=0.3)
    fixed = atoms.constraints[0].index
    assert np.ptp(atoms.positions[fixed, 2]) == pytest.approx(0, abs=1e-9)
