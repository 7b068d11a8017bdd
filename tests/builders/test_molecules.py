"""Molecules from SMILES."""

import gzip
import sys

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io import read

from matkit.builders import MoleculesOptions, build_molecules
from matkit.builders.conformers import (
    bonds_of,
    embedded,
    is_intact,
    open_bonds,
    side,
    stretched,
    thermal,
    turned,
)
from matkit.builders.smiles import choose, part_of, rdkit, read_smiles, scaffold
from matkit.errors import ConfigError, DataError, MissingExtraError
from matkit.hessians.modes import normal_modes

SMILES = ("CCO", "c1ccccc1O", "c1ccccc1CN", "CC#N", "O", "C1CC1C", "CC(=O)N", "OCC")


@pytest.fixture
def chem():
    return pytest.importorskip("rdkit.Chem")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "list.smi"
    path.write_text("\n".join(f"{text} name{i}" for i, text in enumerate(SMILES)) + "\n\n")
    return str(path)


def chosen(file, **changes):
    return list(choose(MoleculesOptions(struct=[file], out="x", **changes)))


def test_files_of_smiles(tmp_path, file):
    assert [entry.smiles for entry in read_smiles([file])] == [*SMILES]
    with gzip.open(tmp_path / "z.smi.gz", "wt") as stream:
        stream.write("CC\n")
    (tmp_path / "q.csv").write_text('Index,SMILES,XYZ\n8,"CC","[[1,2],[3,4]]"\n32,CO,\n')
    found = list(read_smiles([str(tmp_path / "z.smi.gz"), str(tmp_path / "q.csv")]))
    assert [(entry.smiles, entry.index) for entry in found] == [("CC", 0), ("CC", 8), ("CO", 32)]
    (tmp_path / "q.csv").write_text("name\nx\n")
    with pytest.raises(DataError, match="Expected a column SMILES"):
        list(read_smiles([str(tmp_path / "q.csv")]))
    with pytest.raises(DataError, match="there is no file"):
        list(read_smiles(["absent.smi"]))


def test_molecules_come_once_and_in_an_order_of_the_seed(chem, file):
    texts = [smiles for _, smiles, _ in chosen(file)]
    assert len(texts) == len(set(texts)) == len(SMILES) - 1  # CCO = OCC
    assert [smiles for _, smiles, _ in chosen(file, count=3)] == texts[:3]
    assert [smiles for _, smiles, _ in chosen(file, seed=1)] != texts


def test_what_is_not_wanted(chem, tmp_path):
    path = tmp_path / "odd.smi"
    path.write_text("C[NH3+]\nC[CH2]\nCCl\nnonsense\nCCCC\nCCO\n")
    assert [smiles for _, smiles, _ in chosen(str(path), max_heavy=3)] == ["CCO"]
    wider = chosen(str(path), max_heavy=3, elements=["H", "C", "O", "Cl"])
    assert {smiles for _, smiles, _ in wider} == {"CCO", "CCl"}


def test_charged_molecules_where_they_are_wanted(chem, tmp_path):
    path = tmp_path / "ions.smi"
    path.write_text("CC(=O)[O-]\nC[NH3+]\nCO\nC[N+](=O)[O-]\n")
    assert {smiles for _, smiles, _ in chosen(str(path))} == {"CO", "C[N+](=O)[O-]"}
    ions = {smiles for _, smiles, _ in chosen(str(path), charges=[-1, 1])}
    assert ions == {"CC(=O)[O-]", "C[NH3+]"}
    charges = [embedded(smiles, 0)[1].info.get("charge", 0) for smiles in sorted(ions)]
    assert charges == [-1, 1]


def test_reserved_entries_are_left_out(chem, file):
    found = {entry.index for entry, _, _ in chosen(file, leave_out="1/3")}
    assert found <= {0, 2, 3, 5, 6}
    assert 3 in found
    with pytest.raises(ValueError, match="must be like 7/25"):
        MoleculesOptions(leave_out="25/7")


def test_scaffolds(chem):
    def of(text):
        return scaffold(chem.MolFromSmiles(text))

    assert of("c1ccccc1O") == of("c1ccccc1CN") == "c1ccccc1"
    assert of("C1CC1C") == "C1CC1"
    assert of("CCO") == of("CC#N") == of("C=CC") == "***"
    assert of("CCCO") != of("CC(C)O")
    assert of("FS(F)(F)(F)(F)F")  # more bonds than carbon has


def test_parts_share_no_scaffold(chem):
    options = MoleculesOptions(held_out=0.3)
    names = [f"scaffold{i}" for i in range(2000)]
    parts = [part_of(name, options) for name in names]
    assert parts.count("held-out") / len(parts) == pytest.approx(0.3, abs=0.04)
    assert parts == [part_of(name, options) for name in names]
    assert part_of("x", MoleculesOptions(held_out=0.0)) == "train"


def test_geometries_of_a_molecule(chem):
    made, atoms = embedded("CC(=O)NC", 7)
    bonds = bonds_of(made)
    assert str(atoms.symbols.formula.count()) == "{'C': 3, 'O': 1, 'N': 1, 'H': 7}"
    assert is_intact(atoms, bonds)
    assert embedded("CC(=O)NC", 7)[1] == atoms
    single, turning = open_bonds(made)
    assert len(single) == 10  # all but C=O
    assert set(turning) == {(0, 1), (1, 3), (3, 4)}
    assert not is_intact(stretched(atoms, bonds, (1, 3), 1.0), bonds)
    with pytest.raises(ValueError, match="no geometry"):
        embedded("C1#CC1", 0)


def test_turning_and_stretching_keep_both_sides_rigid(chem):
    made, atoms = embedded("CC(=O)NC", 7)
    bonds, bond = bonds_of(made), (1, 3)
    moving = side(bonds, *bond)
    rest = [i for i in range(len(atoms)) if i not in moving]
    assert {3, 4} <= {*moving} and {0, 1, 2} <= {*rest}  # noqa: PT018
    angle = turned(atoms, bonds, bond, 50.0)
    longer = stretched(atoms, bonds, bond, 0.7)
    for changed in (angle, longer):
        for part in (moving, rest):
            np.testing.assert_allclose(
                changed[part].get_all_distances(), atoms[part].get_all_distances(), atol=1e-10
            )
    quad = (0, 1, 3, 4)
    turn = angle.get_dihedral(*quad) - atoms.get_dihedral(*quad)
    assert abs(turn) % 360 == pytest.approx(50) or abs(turn) % 360 == pytest.approx(310)
    assert angle.get_distance(*bond) == pytest.approx(atoms.get_distance(*bond))
    assert longer.get_distance(*bond) == pytest.approx(atoms.get_distance(*bond) + 0.7)


def test_thermal_displacements_have_the_energy_of_their_temperature():
    """Equipartition: kT / 2 for each mode of a harmonic molecule."""
    atoms = molecule("H2O")
    rows = np.random.default_rng(0).normal(size=(9, 9))
    modes = normal_modes(atoms, 50 * (rows @ rows.T))
    stiffness = modes.vectors.reshape(3, 9) @ (50 * (rows @ rows.T)) @ modes.vectors.reshape(3, 9).T
    rng, energies = np.random.default_rng(1), []
    inverse = np.linalg.pinv(modes.vectors.reshape(3, 9).T)
    for _ in range(2000):
        away = (thermal(atoms, modes, 300.0, rng).positions - atoms.positions).ravel()
        amounts = inverse @ away
        energies.append(amounts @ np.diag(np.diag(stiffness)) @ amounts / 2)
    assert np.mean(energies) == pytest.approx(1.5 * units.kB * 300, rel=0.1)


def test_rdkit_is_asked_for_by_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit.RDLogger", None)
    with pytest.raises(MissingExtraError, match=r"matkit\[molecules\]"):
        rdkit()


def test_impossible_demands():
    with pytest.raises(ConfigError, match="matkit data molecules"):
        build_molecules(MoleculesOptions(out="x"))


@pytest.fixture
def options(chem, tmp_path, file):
    pytest.importorskip("tblite")
    return MoleculesOptions(struct=[file], out=str(tmp_path / "out"), count=5, held_out=0.5, seed=3)


def frames_of(folder, part):
    path = folder / "out" / f"{part}.extxyz"
    return read(path, ":") if path.stat().st_size else []


@pytest.mark.slow
def test_molecules_are_relaxed_and_displaced(tmp_path, options):
    from tblite.ase import TBLite

    built = build_molecules(options)
    parts = {part: frames_of(tmp_path, part) for part in ("train", "held-out")}
    assert {part: b.frames for part, b in built.items()} == {p: len(f) for p, f in parts.items()}
    assert all(parts.values())
    groups = [{str(atoms.info["group"]) for atoms in frames} for frames in parts.values()]
    assert not groups[0] & groups[1]
    frames = parts["train"] + parts["held-out"]
    relaxed = [atoms for atoms in frames if atoms.info["config_type"] == "relaxed"]
    assert len(relaxed) == 5
    for atoms in relaxed:
        atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.011
    kinds = {atoms.info["config_type"] for atoms in frames}
    assert kinds == {
        *("relaxed", "rattled-0.05", "rattled-0.15", "thermal-300", "thermal-1000"),
        *("torsion", "stretched", "path"),
    }
    before = (tmp_path / "out/train.extxyz").read_bytes()
    ledger = tmp_path / "out/train.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:1]))
    build_molecules(options)
    assert (tmp_path / "out/train.extxyz").read_bytes() == before


def test_frames_of_ions_have_their_charge(tmp_path, options):
    path = tmp_path / "ions.smi"
    path.write_text("C[NH3+]\n")
    few = {"struct": [str(path)], "charges": [1], "rattle": [0.05], "temperatures": [], "paths": 0}
    build_molecules(options.model_copy(update={**few, "torsions": 0, "stretches": 1}))
    frames = [atoms for part in ("train", "held-out") for atoms in frames_of(tmp_path, part)]
    assert [atoms.info["charge"] for atoms in frames] == [1, 1, 1]
    assert {atoms.info["smiles"] for atoms in frames} == {"C[NH3+]"}


def test_failures_are_kept(tmp_path, options):
    built = build_molecules(options.model_copy(update={"steps": 1, "count": 2}))
    reasons = [text for part in built.values() for _, text in part.reasons]
    assert len(reasons) == 2
    assert all("the relaxation ended with max_steps" in text for text in reasons)


def test_a_broken_molecule_is_no_molecule(monkeypatch, options):
    """As when a zwitterion loses its proton in the gas."""
    far = Atoms("HH", [(0, 0, 0), (0, 0, 3)])
    monkeypatch.setattr("matkit.builders.molecules.embedded", lambda smiles, seed: (None, far))
    monkeypatch.setattr("matkit.builders.molecules.bonds_of", lambda made: ((0, 1),))
    update = {"count": 1, "calculator": "ase.calculators.emt:EMT", "fmax": 100.0}
    built = build_molecules(options.model_copy(update=update))
    assert "broke a bond" in str([part.reasons for part in built.values()])
