import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from matkit.data.alignment import can_align
from matkit.data.ase import from_ase
from matkit.data.collecting import Collector, Memory
from matkit.data.dataset import Dataset, dataset_of
from matkit.data.duplicates import _look, _same, duplicates
from matkit.data.fingerprints import fingerprints
from matkit.data.labels import LabelKeys
from matkit.data.small_steps import near_pairs
from matkit.testing.systems import SYSTEMS, crystal, random_rotation, slab, water


def dataset(frames) -> Dataset:
    memory = Memory()
    collector = Collector(memory, LabelKeys())
    for i, atoms in enumerate(frames):
        collector.add(atoms, "a.xyz", i)
    _, names, found = collector.finish()
    columns = ("positions", "species", "cell", "pbc", "n_atoms")
    columns += ("config_type", "group", "file", "index")
    return dataset_of({name: memory.column(name) for name in columns}, names, found)


def disguised(atoms: Atoms, seed: int, mirrored: bool = False) -> Atoms:
    """The same structure turned, moved, wrapped, with its atoms in another order."""
    rng = np.random.default_rng(seed)
    other = atoms[rng.permutation(len(atoms))]
    rotation = random_rotation(seed).numpy() * (-1 if mirrored else 1)
    other.set_cell(other.cell.array @ rotation)
    other.positions = other.positions @ rotation + rng.normal(size=3)
    other.wrap()
    return other


def rattled(atoms: Atoms, size: float, seed: int = 0) -> Atoms:
    other = atoms.copy()
    other.positions += np.random.default_rng(seed).uniform(-size, size, other.positions.shape)
    return other


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("system", SYSTEMS)
def test_disguised_copies_are_found(system, mirrored):
    atoms = SYSTEMS[system]()
    data = dataset([molecule("CH4"), atoms, disguised(atoms, 1, mirrored)])
    assert duplicates(data) == [(1, 2)]


@pytest.mark.parametrize("system", ["molecule", "crystal", "slab"])
def test_the_tolerance_decides(system):
    atoms = SYSTEMS[system]()
    assert duplicates(dataset([atoms, rattled(disguised(atoms, 1), 2e-4)])) == [(0, 1)]
    assert duplicates(dataset([atoms, rattled(disguised(atoms, 1), 5e-2)])) == []
    assert duplicates(dataset([atoms, rattled(atoms, 5e-3)]), tolerance=2e-2) == [(0, 1)]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_fingerprints_change_no_more_than_they_say(seed):
    atoms, size = crystal(), 1e-3
    one, two = (fingerprints(from_ase(a)) for a in (atoms, rattled(atoms, size / 4, seed)))
    # Each coordinate moves by size / 4 at most, so no distance changes by more than size.
    assert (np.abs(one.values - two.values) <= size * 1.5 * one.slopes[0]).all()


def test_between_two_sets_the_first_one_counts():
    a = dataset([water(), crystal(), water()])
    b = dataset([disguised(crystal(), 5), slab(), disguised(water(), 2), disguised(water(), 3)])
    assert duplicates(a, b) == [(1, 0), (0, 2), (0, 3)]


def test_one_element_for_another_is_no_copy():
    atoms = crystal()
    other = atoms.copy()
    other.numbers = np.where(atoms.numbers == 11, 19, atoms.numbers)
    swapped = atoms.copy()
    swapped.numbers[[0, 1]] = swapped.numbers[[1, 0]]
    assert duplicates(dataset([atoms, other, swapped])) == []


def test_atoms_far_apart():
    # No atoms are within the first cutoff of each other.
    pairs = [Atoms("H2", [[0, 0, 0], [0, 0, d]]) for d in (7, 7.5, 7)]
    boxes = [Atoms("H2", [[0, 0, 0], [0, 0, d]], cell=[30, 30, 30], pbc=True) for d in (7, 7.5, 7)]
    assert duplicates(dataset(pairs)) == duplicates(dataset(boxes)) == [(0, 2)]


def test_equal_distances_are_not_enough_for_crystals():
    # Patterson's sets {0, 1, 4, 7} and {0, 1, 3, 4} of eight sites on a ring: all distances agree,
    # but no shift or reflection turns one into the other.
    first, second = ring((0, 1, 4, 7)), ring((0, 1, 3, 4))
    for number in (2, 10):
        one, other = (a[a.numbers == number].get_all_distances(mic=True) for a in (first, second))
        assert np.allclose(np.sort(one.ravel()), np.sort(other.ravel()))
    assert not can_align(from_ase(first), from_ase(second), 0.01)
    assert duplicates(dataset([first, second])) == []
    assert can_align(from_ase(first), from_ase(disguised(first, 3)), 0.01)


def ring(occupied) -> Atoms:
    atoms = Atoms("He8", [[3 * i, 0, 0] for i in range(8)], cell=[24, 3, 3], pbc=True)
    atoms.numbers[list(occupied)] = 10
    return atoms


def test_all_numbers_are_compared_though_few_are_searched(monkeypatch):
    monkeypatch.setattr("matkit.data.duplicates.SEARCHED", 1)
    first = crystal()
    pairs = [(first, rattled(first, 0.05, seed)) for seed in range(3)]
    assert all(duplicates(dataset(pair), tolerance=5e-3) == [] for pair in pairs)
    assert duplicates(dataset([first, disguised(first, 1)])) == [(0, 1)]


def test_distances_of_one_structure_only_count_unless_they_are_at_the_cutoff():
    near, far = (
        _look(from_ase(Atoms("He2", [[0, 0, 0], [0, 0, d]], cell=cell, pbc=True)), 0)
        for d, cell in ((3.0, [20] * 3), (6.0, [20] * 3))
    )
    assert not _same(near, far, 1e-3)
    edge = _look(from_ase(Atoms("He2", [[0, 0, 0], [0, 0, 4.9999]], cell=[20] * 3, pbc=True)), 0)
    assert edge.distances
    assert _same(edge, far, 1e-3)


def test_strains_along_different_axes_are_the_same():
    """A cubic crystal does not know which axis it was strained along."""
    cells = [bulk("Cu", cubic=True) for _ in range(4)]
    for axis in range(3):
        strain = np.eye(3)
        strain[axis, axis] = 1.02
        cells[axis].set_cell(cells[axis].cell.array @ strain, scale_atoms=True)
    assert duplicates(dataset(cells)) == [(0, 1), (0, 2)]


def test_another_cell_of_the_same_lattice_is_aligned():
    atoms = crystal()
    sheared = make_supercell(atoms, [[1, 0, 0], [2, 1, 0], [-1, 1, 1]])
    assert can_align(from_ase(atoms), from_ase(sheared), 0.01)
    assert duplicates(dataset([atoms, sheared])) == [(0, 1)]


def crowded(count: int = 60) -> Dataset:
    """Slightly rattled cells, every fifth a disguised copy, and some at the tolerance."""
    cell = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    frames = [rattled(cell, 0.01, seed) for seed in range(count)]
    for i in range(5, count, 5):
        frames[i] = rattled(disguised(frames[i - 5], i), 4e-4, i)
    return dataset(frames)


def test_many_rattled_cells_are_compared_as_one_by_one(monkeypatch):
    data = crowded()
    searched = duplicates(data)
    half = data.subset(range(0, 60, 2)), data.subset(range(1, 60, 2))
    between = duplicates(*half)
    monkeypatch.setattr("matkit.data.duplicates.CROWDED", np.inf)
    assert searched == duplicates(data)
    assert len(searched) >= 5
    assert between == duplicates(*half)


def test_a_thousand_rattled_cells_are_few_comparisons(monkeypatch):
    """Comparing all pairs of them took minutes."""
    compared = []

    def count(*pair):
        compared.append(pair)
        return False

    monkeypatch.setattr("matkit.data.duplicates._are_identical", count)
    cell = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    assert duplicates(dataset([rattled(cell, 0.01, seed) for seed in range(150)])) == []
    assert len(compared) < 300


def test_the_first_of_many_copies_stands_for_all():
    data = dataset([bulk("Cu")] * 300)
    assert duplicates(data) == [(0, j) for j in range(1, 300)]


def test_neighbours_in_a_trajectory_are_near():
    atoms = crystal()
    moved = rattled(atoms, 0.01)
    moved.positions += 3.0
    moved.wrap()
    hot = rattled(atoms, 0.5)
    turned = disguised(atoms, 4)
    found = near_pairs(dataset([hot, atoms]), dataset([turned, moved, hot]), 0.05)
    assert found == [(1, 1), (0, 2)]


def test_near_molecules():
    close, far = rattled(water(), 0.01), rattled(water(), 0.3)
    close.positions -= 2.0
    assert near_pairs(dataset([water()]), dataset([far, close]), 0.05) == [(0, 1)]


def test_nothing_is_found_in_nothing():
    data = dataset([crystal()])
    empty = data.subset([])
    assert duplicates(empty) == duplicates(data, empty) == duplicates(empty, data) == []
    assert near_pairs(empty, data, 0.05) == []
