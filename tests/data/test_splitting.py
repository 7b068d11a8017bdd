import pytest
from ase import Atoms
from ase.build import bulk, molecule

from matkit.data.dataset import read_dataset
from matkit.data.splitting import remarks_on, split_dataset, split_indices
from matkit.errors import DataError, UnknownNameError
from tests.data.sets import save


def dataset(tmp_path, frames):
    return read_dataset(save(tmp_path / "a.extxyz", frames))


@pytest.fixture
def trajectories(tmp_path):
    """20 trajectories of 1 to 20 frames each, in turns."""
    frames = [bulk("Cu", a=3.6 + 0.01 * i) for i in range(20) for _ in range(i + 1)]
    names = [i for i in range(20) for _ in range(i + 1)]
    for atoms, name in zip(frames, names, strict=True):
        atoms.info["trajectory"] = f"run {name}"
    order = sorted(range(len(frames)), key=lambda i: i % 7)
    return dataset(tmp_path, [frames[i] for i in order])


@pytest.mark.parametrize("seed", range(4))
def test_frames_of_a_trajectory_stay_together(trajectories, seed):
    parts, notes = split_dataset(trajectories, (0.8, 0.1, 0.1), seed)
    assert notes == []
    groups = [set(part.groups) for part in parts]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert [len(part) / len(trajectories) for part in parts] == pytest.approx(
        [0.8, 0.1, 0.1], abs=0.02
    )
    assert sorted(s for part in parts for s in part.sources) == sorted(trajectories.sources)


def test_a_seed_is_a_split(trajectories):
    first, again, other = (split_indices(trajectories, (0.5, 0.5), s)[0] for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert all(part == sorted(part) for part in first)


def test_random_and_formula(tmp_path):
    frames = [molecule(name) for name in ("H2O", "CH4", "NH3", "CO2") for _ in range(5)]
    data = dataset(tmp_path, frames)
    by_formula, _ = split_dataset(data, (0.75, 0.25), 0, "formula")
    assert [len(part) for part in by_formula] == [15, 5]
    assert len(set(by_formula[1].formulas)) == 1
    at_random, _ = split_dataset(data, (0.75, 0.25), 0, "random")
    assert [len(part) for part in at_random] == [15, 5]
    assert len(set(at_random[1].formulas)) > 1


def test_formulas_ignore_supercells_and_trajectories(tmp_path):
    frames = [bulk("Cu"), bulk("Cu") * 2, bulk("Ag"), bulk("Ag") * 2]
    for i, atoms in enumerate(frames):
        atoms.info["trajectory"] = i
    parts, _ = split_dataset(dataset(tmp_path, frames), (0.5, 0.5), 0, "formula")
    assert sorted(part.formulas for part in parts) == [("Ag", "Ag"), ("Cu", "Cu")]


def test_isolated_atoms_are_learned_from(tmp_path):
    frames = [Atoms("H"), molecule("H2"), molecule("O2"), Atoms("O")]
    parts, _ = split_indices(dataset(tmp_path, frames), (0.5, 0.5), 3, "random")
    assert {0, 3} < set(parts[0])
    assert len(parts[1]) == 1


def test_no_part_is_empty(tmp_path):
    frames = [molecule(name) for name in ("H2O", "CH4", "NH3") for _ in range(10)]
    parts, _ = split_indices(dataset(tmp_path, frames), (0.8, 0.1, 0.1), 0)
    assert [len(part) for part in parts] == [10, 10, 10]


@pytest.mark.parametrize("fractions", [(0.5, 0.6), (1.0, 0.0), (1.2, -0.2), ()])
def test_impossible_fractions(tmp_path, fractions):
    with pytest.raises(DataError, match="positive fractions that add up to 1"):
        split_indices(dataset(tmp_path, [bulk("Cu")]), fractions, 0)


def test_one_trajectory_is_cut_into_blocks_that_succeed_each_other(tmp_path):
    """It was refused, though it is the commonest set of all."""
    data = dataset(tmp_path, [bulk("Cu", a=3.5 + 0.01 * i) for i in range(20)])
    parts, notes = split_indices(data, (0.8, 0.1, 0.1), 0)
    assert parts == [list(range(16)), [16, 17], [18, 19]]
    assert "1 group(s) (Cu)" in notes[0]
    assert "neighbours in time are alike" in notes[0]
    assert split_indices(data, (0.8, 0.1, 0.1), 7)[0] == parts


@pytest.mark.parametrize(("count", "sizes"), [(2, [1, 1]), (3, [2, 1]), (6, [5, 1]), (15, [13, 2])])
def test_small_sets_are_cut_too(tmp_path, count, sizes):
    data = dataset(tmp_path, [bulk("Cu", a=3.5 + 0.01 * i) for i in range(count)])
    parts, _ = split_indices(data, (0.9, 0.1), 0)
    assert [len(part) for part in parts] == sizes


def test_every_one_of_too_few_trajectories_is_cut(tmp_path):
    frames = [bulk(symbol) for symbol in ("Cu", "Ag") for _ in range(10)]
    parts, notes = split_indices(dataset(tmp_path, frames), (0.8, 0.1, 0.1), 0)
    assert parts == [[*range(8), *range(10, 18)], [8, 18], [9, 19]]
    assert "2 group(s) (Ag, Cu)" in notes[0]


def test_a_single_odd_structure_is_no_validation_set(tmp_path):
    frames = [molecule("H2O"), *(bulk("Cu", a=3.5 + 0.01 * i) for i in range(39))]
    parts, notes = split_indices(dataset(tmp_path, frames), (0.9, 0.1), 0)
    assert parts == [list(range(36)), list(range(36, 40))]
    assert "too unequal" in notes[0]


def test_blocks_can_be_asked_for(tmp_path):
    frames = [bulk("Cu") * (1, 1, i + 1) for i in range(3)] + [bulk("Ag")]
    parts, notes = split_indices(dataset(tmp_path, frames), (0.5, 0.5), 0, "block")
    assert (parts, notes) == ([[0, 1], [2, 3]], [])


def test_structures_that_are_spared_for_an_empty_part(tmp_path):
    data = dataset(tmp_path, [molecule("H2O"), molecule("NH3"), bulk("Cu"), bulk("Cu")])
    parts, _ = split_indices(data, (0.25,) * 4, 0)
    assert sorted(i for part in parts for i in part) == [0, 1, 2, 3]
    assert all(len(part) == 1 for part in parts)


def test_one_structure_cannot_be_split(tmp_path):
    with pytest.raises(DataError, match=r"Cannot split 1 structure.*--valid-fraction 0"):
        split_indices(dataset(tmp_path, [bulk("Cu"), Atoms("Cu")]), (0.5, 0.5), 0)


def test_one_formula_is_not_cut_where_formulas_were_to_stay_together(tmp_path):
    data = dataset(tmp_path, [bulk("Cu"), bulk("Cu") * 2])
    with pytest.raises(DataError, match=r"belong to 1 group\(s\) \(Cu\).*Split by random"):
        split_indices(data, (0.5, 0.5), 0, "formula")


def test_sets_of_one_structure_are_no_result():
    one, few = remarks_on({"test": 1, "validation": 5, "large": 10})
    assert "The test set is one structure" in one
    assert "validation set has 5 structures only" in few


def test_unknown_way(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'group'"):
        split_indices(dataset(tmp_path, [bulk("Cu")]), (0.5, 0.5), 0, "groups")
