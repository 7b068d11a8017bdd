"""The whole set of perturbed crystals."""

import json
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write

from matkit.builders import PerturbOptions, perturb
from matkit.data.dataset import read_dataset
from matkit.errors import ConfigError, UnknownNameError
from matkit.options import build


@pytest.fixture
def crystals(tmp_path):
    path = tmp_path / "c.extxyz"
    salt = bulk("NaCl", "rocksalt", a=5.64)
    salt.info |= {"material_id": "mp-22862", "energy": 1.0}
    write(path, [salt, bulk("Cu", cubic=True)])
    return str(path)


def made(tmp_path, crystals, name="out", **changes):
    options = PerturbOptions(struct=[crystals], out=str(tmp_path / name), **changes)
    return perturb(options), read(tmp_path / name / "perturbed.extxyz", ":")


def test_every_kind_is_there(tmp_path, crystals):
    options = PerturbOptions()
    built, frames = made(tmp_path, crystals)
    kinds = Counter(atoms.info["config_type"] for atoms in frames)
    assert kinds == {
        "relaxed": 2,
        **{f"rattled-{a:g}": 2 for a in options.rattle},
        "strained": 2 * len(options.volume),
        "sheared": 2 * len(options.shear),
        "vacancy": 2,
        "substituted": 4,
        "surface": 2,
        "IsolatedAtom": 3,
        # Each with itself and with H, O, Fe.
        "dimer": 3 * 4 * options.dimer_points,
    }
    assert (built.frames, built.failed, built.rejected) == (len(frames), 0, 0)
    assert all(len(atoms) <= options.max_atoms for atoms in frames)


def test_provenance_of_every_frame(tmp_path, crystals):
    _, frames = made(tmp_path, crystals)
    crystal = [atoms for atoms in frames if atoms.pbc.any()]
    assert {atoms.info["group"] for atoms in crystal} == {"mp-22862", "Cu"}
    assert {atoms.info["parent"] for atoms in crystal} == {f"{crystals}[0]", f"{crystals}[1]"}
    assert all(set(atoms.info) == {"config_type", "group", "parent"} for atoms in frames)
    data = read_dataset(tmp_path / "out/perturbed.extxyz")
    assert data.label_report.energy.key is None
    assert set(data.groups) >= {"mp-22862", "Cu", "Cl-Fe", "Na"}


def test_dimers_from_touching_to_apart(tmp_path, crystals):
    _, frames = made(tmp_path, crystals)
    dimers = [atoms for atoms in frames if atoms.info["config_type"] == "dimer"]
    one = [atoms.get_distance(0, 1) for atoms in dimers if str(atoms.symbols) == "HCu"]
    assert one == sorted(one)
    assert 0.5 <= one[0] < 0.7
    assert 4 < one[-1] <= 6
    assert not any(atoms.pbc.any() for atoms in dimers)


def test_the_same_seed_gives_the_same_structures(tmp_path, crystals):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        made(tmp_path, crystals, name, seed=seed)
    a, b, c = ((tmp_path / n / "perturbed.extxyz").read_text() for n in "abc")
    assert a == b
    assert a != c


def test_a_stopped_run_goes_on(tmp_path, crystals):
    made(tmp_path, crystals)
    path, ledger = tmp_path / "out/perturbed.extxyz", tmp_path / "out/perturbed.jsonl"
    whole = path.read_bytes()
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:1]))
    made(tmp_path, crystals)
    assert path.read_bytes() == whole
    with pytest.raises(ConfigError, match="seed = 0 then, 5 now"):
        made(tmp_path, crystals, seed=5)


def test_molecular_dynamics(tmp_path, crystals):
    write(crystals, bulk("Cu", cubic=True))
    _, frames = made(
        tmp_path,
        crystals,
        model="ase.calculators.emt:EMT",
        temperatures=[300.0],
        snapshots=2,
        md_steps=20,
    )
    snapshots = [atoms for atoms in frames if atoms.info["config_type"] == "md-300"]
    start = bulk("Cu", cubic=True)
    away = [np.abs(atoms.positions - start.positions).max() for atoms in snapshots]
    assert len(away) == 2
    assert all(0.001 < distance < 0.5 for distance in away)
    assert not np.allclose(*(atoms.positions for atoms in snapshots))


def test_what_cannot_be_made_is_noted(tmp_path, crystals):
    write(crystals, bulk("Cu"))
    made(tmp_path, crystals, supercell_atoms=1, closest=1.0, isolated=False, dimers=[])
    skipped = first_row(tmp_path)["skipped"]
    assert "none to take out" in skipped["vacancy"]
    assert skipped["strained"] == "atoms too close in every draw"
    assert "no other element" in skipped["substituted"]


def first_row(tmp_path):
    text = (tmp_path / "out/perturbed.jsonl").read_text()
    return json.loads(text.splitlines()[0])


def test_what_is_no_crystal(tmp_path, crystals):
    large = Atoms("H65", positions=np.arange(195).reshape(65, 3), cell=(200, 200, 200), pbc=True)
    write(crystals, [molecule("H2O"), large, bulk("Cu")])
    built, frames = made(tmp_path, crystals, isolated=False, dimer_points=0)
    assert (built.failed, built.rejected) == (1, 1)
    assert "periodic along three" in built.reasons[0][1]
    assert {atoms.info["group"] for atoms in frames} >= {"Cu"}


def test_impossible_demands(tmp_path, crystals):
    with pytest.raises(ConfigError, match="matkit data perturb"):
        perturb(PerturbOptions(out="x"))
    with pytest.raises(ConfigError, match="Name a folder"):
        perturb(PerturbOptions(struct=[crystals]))
    with pytest.raises(UnknownNameError, match="not a chemical symbol"):
        perturb(PerturbOptions(struct=[crystals], out=str(tmp_path / "x"), dimers=["Xx"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[]", []), (["[]"], []), (["[0.1, 0.2]"], [0.1, 0.2]), ("0.1", [0.1]), ([0.3], [0.3])],
)
def test_lists_may_be_text(text, expected):
    assert build(PerturbOptions, {"rattle": text}).rattle == expected


def test_lists_of_words_may_be_empty():
    assert build(PerturbOptions, {"dimers": ["[]"]}).dimers == []
    assert build(PerturbOptions, {"struct": ["[ab].cif"]}).struct == ["[ab].cif"]


def test_a_list_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"rattle.*'\[0.1'"):
        build(PerturbOptions, {"rattle": ["[0.1"]})
