import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from matkit.data.cached import convert
from matkit.data.dataset import located_atoms, read_dataset
from matkit.data.labels import LabelKeys
from matkit.errors import ConfigError
from matkit.evaluate.comparison import compare
from matkit.evaluate.writing import check_prefix, labelled_frames, read_frames, write_predictions
from tests.evaluate.labelled import dataset, frames, guesses


def written(folder, data, prefix="matkit_"):
    prediction = guesses(data)
    source = [folder / "labelled.extxyz"]
    path = folder / "predictions.extxyz"
    write_predictions(path, read_frames(source, data), compare(prediction, data), prefix)
    return path, prediction


def same(a, b):
    return np.array_equal(np.asarray(a), np.asarray(b))


def test_nothing_that_was_there_is_changed(tmp_path):
    atoms = frames()
    for i, one in enumerate(atoms):
        one.info["note"] = f"number {i}"
        one.set_array("tag", np.arange(len(one)))
    data = dataset(tmp_path, atoms)
    before = read(tmp_path / "labelled.extxyz", ":")
    after = read(written(tmp_path, data)[0], ":")
    for old, new in zip(before, after, strict=True):
        assert set(new.info) - set(old.info) <= {"matkit_energy", "matkit_stress"}
        assert set(new.arrays) - set(old.arrays) == {"matkit_forces"}
        assert all(same(new.info[key], value) for key, value in old.info.items())
        assert all(same(new.arrays[key], value) for key, value in old.arrays.items())
        assert same(new.cell, old.cell)


def test_labels_of_a_calculator_stay(tmp_path):
    atoms = molecule("H2O")
    forces = np.ones((3, 3))
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=forces)
    data = dataset(tmp_path, [atoms])
    new = read(written(tmp_path, data)[0])
    assert new.get_potential_energy() == -3.0
    assert same(new.get_forces(), forces)
    assert new.info["matkit_energy"] == pytest.approx(float(guesses(data)["energy"][0]), abs=1e-8)


def test_predictions_can_be_read_as_labels(tmp_path):
    data = dataset(tmp_path)
    path, prediction = written(tmp_path, data, "model_1_")
    keys = {f"{label}_key": f"model_1_{label}" for label in ("energy", "forces", "stress")}
    again = read_dataset(path, LabelKeys(**keys)).structures
    for label, values in {**again.system, **again.atom}.items():
        torch.testing.assert_close(values, prediction[label], atol=1e-7, rtol=0, equal_nan=True)


def test_a_part_of_a_file(tmp_path):
    data = dataset(tmp_path).subset([1, 4])
    path, prediction = written(tmp_path, data)
    new = read(path, ":")
    assert [len(atoms) for atoms in new] == [3, 8]
    assert same(new[1].positions, read(tmp_path / "labelled.extxyz", 4).positions)
    assert new[1].arrays["matkit_forces"] == pytest.approx(prediction["forces"][3:], abs=1e-7)


def test_a_broken_prediction_is_not_written(tmp_path):
    data = dataset(tmp_path)
    prediction = guesses(data)
    prediction["energy"][0] = torch.nan
    atoms = read_frames([tmp_path / "labelled.extxyz"], data)
    write_predictions(tmp_path / "new.extxyz", atoms, compare(prediction, data))
    first, second = read(tmp_path / "new.extxyz", ":2")
    assert "matkit_energy" not in first.info
    assert "matkit_energy" in second.info


@pytest.mark.parametrize("prefix", ["REF_", "old_"])
def test_labels_are_never_replaced(tmp_path, prefix):
    atoms = frames()
    atoms[5].info["old_stress"] = np.zeros(6)
    data = dataset(tmp_path, atoms)
    with pytest.raises(ConfigError, match=f"would replace {prefix}"):
        written(tmp_path, data, prefix)
    assert [path.name for path in tmp_path.iterdir()] == ["labelled.extxyz"]
    with pytest.raises(ConfigError, match="would replace"):
        check_prefix(atoms, prefix)


def test_results_of_a_calculator_are_labels_too():
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=1.0)
    atoms.calc.results["my_energy"] = 1.0
    with pytest.raises(ConfigError, match="my_energy"):
        check_prefix([atoms], "my_")


@pytest.mark.parametrize("prefix", ["", "two words ", "a=b", "1st_"])
def test_a_prefix_is_a_name(prefix):
    with pytest.raises(ConfigError, match="prefix of letters"):
        check_prefix([], prefix)


def test_an_old_file_is_replaced_as_a_whole(tmp_path):
    data = dataset(tmp_path)
    path, _ = written(tmp_path, data)
    first = path.read_bytes()
    assert written(tmp_path, data)[0].read_bytes() == first


def test_structures_of_a_converted_folder_carry_their_labels(tmp_path):
    file = tmp_path / "labelled.extxyz"
    atoms = frames()
    for one in atoms:
        one.info["charge"] = 1.0
    atoms[0].info["config_type"] = "Default"
    write(file, atoms)
    convert(located_atoms([file]), tmp_path / "folder", LabelKeys())
    data = read_dataset(tmp_path / "folder")
    write_predictions(tmp_path / "new.extxyz", labelled_frames(data), compare(guesses(data), data))
    for old, new in zip(atoms, read(tmp_path / "new.extxyz", ":"), strict=True):
        assert new.positions == pytest.approx(old.positions, abs=1e-7)
        assert new.info["config_type"] == old.info["config_type"]
        assert new.info["charge"] == 1.0
        assert new.info["source"].startswith(str(file))
        for key in ("REF_energy", "REF_stress"):
            assert (key in new.info) == (key in old.info)
            assert new.info.get(key, 0) == pytest.approx(old.info.get(key, 0), abs=1e-7)
        assert ("REF_forces" in new.arrays) == ("REF_forces" in old.arrays)
        assert "matkit_forces" in new.arrays
