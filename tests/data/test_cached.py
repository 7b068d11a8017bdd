import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from ase.build import molecule

from matkit.data.cached import MANIFEST, convert, is_folder, load_folder
from matkit.data.dataset import dataset_of, located_atoms, read_dataset
from matkit.data.labels import LabelKeys
from matkit.errors import DataError, OutputExistsError
from tests.data.sets import rattled_copper, save, strained_copper


@pytest.fixture
def source(tmp_path):
    frames = [molecule("H2O"), *strained_copper(3, charge=1), *rattled_copper(2)]
    frames[1].info["REF_energy"] = -1.0
    return save(tmp_path / "a.extxyz", frames)


@pytest.fixture
def folder(tmp_path, source):
    convert(located_atoms([source]), tmp_path / "cache", LabelKeys())
    return tmp_path / "cache"


def test_a_folder_is_the_same_data(source, folder):
    plain, mapped = read_dataset(source), read_dataset(folder)
    for ours, theirs in [
        (mapped.structures, plain.structures),
        (mapped.structures.system, plain.structures.system),
        (mapped.structures.atom, plain.structures.atom),
    ]:
        names = ours if isinstance(ours, dict) else ("positions", "species", "cell", "pbc")
        pick = dict.__getitem__ if isinstance(ours, dict) else getattr
        for name in names:
            a, b = pick(ours, name).numpy(), pick(theirs, name).numpy()
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), name
    assert mapped.structures.system.keys() == plain.structures.system.keys()
    assert (mapped.sources, mapped.groups) == (plain.sources, plain.groups)
    assert (mapped.config_types, mapped.label_report) == (plain.config_types, plain.label_report)


def test_a_folder_is_mapped_and_not_changed(folder):
    dataset = read_dataset(folder)
    before = (folder / "positions.npy").read_bytes()
    columns, names, found = load_folder(folder)
    assert isinstance(columns["positions"], np.memmap)
    shared = dataset_of(columns, names, found).structures.positions
    assert shared.data_ptr() == columns["positions"].ctypes.data
    dataset.structures.positions.zero_()
    assert (folder / "positions.npy").read_bytes() == before
    assert read_dataset(folder).structures.positions.any()


def test_only_chosen_columns_are_kept(folder):
    names = {path.name for path in folder.iterdir()}
    assert "energy.npy" in names
    assert "charge.npy" in names  # though only some structures have one
    assert not [name for name in names if "-" in name]


def test_columns_longer_than_the_buffer(tmp_path, source, monkeypatch):
    monkeypatch.setattr("matkit.data.cached.BUFFER", 100)
    convert(located_atoms([source]), tmp_path / "cache", LabelKeys())
    assert torch.equal(
        read_dataset(tmp_path / "cache").structures.positions,
        read_dataset(source).structures.positions,
    )


def test_keys_are_used_when_converting(tmp_path, source):
    keys = LabelKeys(stress_unit="GPa", stress_sign="vasp")
    convert(located_atoms([source]), tmp_path / "cache", keys)
    stress = read_dataset(tmp_path / "cache").structures.system["stress"]
    expected = read_dataset(source, keys).structures.system["stress"]
    assert torch.equal(stress[1:], expected[1:])
    with pytest.raises(DataError, match="have been chosen already"):
        read_dataset(tmp_path / "cache", keys)


def test_a_folder_comes_alone(source, folder):
    with pytest.raises(DataError, match="one converted folder alone"):
        read_dataset([source, folder])


def test_an_error_leaves_nothing(tmp_path, source):
    def failing():
        yield from list(located_atoms([source]))[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(failing(), tmp_path / "cache", LabelKeys())
    assert {path.name for path in tmp_path.iterdir()} == {"a.extxyz"}


def test_a_killed_conversion_leaves_no_data_set(tmp_path, source):
    code = (
        "import os, sys\n"
        "from matkit.data.cached import convert\n"
        "from matkit.data.dataset import located_atoms\n"
        "from matkit.data.labels import LabelKeys\n"
        "def failing():\n"
        "    yield from located_atoms([sys.argv[1]])\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        "convert(failing(), sys.argv[2], LabelKeys())\n"
    )
    words = [sys.executable, "-c", code, source, str(tmp_path / "cache")]
    done = subprocess.run(words, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == -signal.SIGKILL
    left = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert not (tmp_path / "cache").exists()
    assert not any(is_folder(path) for path in left)


def test_replacing(tmp_path, source, folder):
    with pytest.raises(OutputExistsError, match="already is"):
        convert(located_atoms([source]), folder, LabelKeys())
    one = list(located_atoms([source]))[:1]
    convert(one, folder, LabelKeys(), overwrite=True)
    assert len(read_dataset(folder)) == 1
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputExistsError, match="only a data set"):
        convert(one, tmp_path / "mine", LabelKeys(), overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"a.extxyz", "cache", "mine"}


def change(folder, **values):
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def damage_shape(folder):
    np.save(folder / "positions.npy", np.zeros((1, 3)))


def damage_file(folder):
    content = (folder / "positions.npy").read_bytes()
    (folder / "positions.npy").write_bytes(content[:-8])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: change(folder, version=99), "Update matkit"),
        (lambda folder: change(folder, format="other"), "Expected a data set of matkit"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "Expected a data set of matkit"),
        (lambda folder: change(folder, arrays={}), "its manifest was changed"),
        (damage_shape, "positions should be <f8"),
        (damage_file, "cannot map"),
        (lambda folder: (folder / "energy.npy").unlink(), "cannot map"),
    ],
)
def test_damaged_folders_are_refused(folder, harm, message):
    harm(folder)
    with pytest.raises(DataError, match=message):
        read_dataset(folder)
