"""Matrices made of blocks for pairs of atoms, against loops over atoms and pairs."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from ase import Atoms

from matkit.data.ase import from_ase
from matkit.errors import ConfigError, UnknownElementError
from matkit.graph import Graph
from matkit.neighbors import radius_graph
from matkit.pair_blocks import PairBlocks, species_widths
from matkit.testing.systems import water

ORBITALS = {1: 5, 8: 14}


def hydroxide() -> Atoms:
    """A crystal so small that atoms see images of each other and of themselves."""
    return Atoms("OH", [[0, 0, 0], [0.9, 0.2, 0.1]], cell=np.diag([2.1, 2.4, 2.8]), pbc=True)


def peroxide() -> Atoms:
    return Atoms("HOOH", [[0.8, 0.5, 0.9], [0.0, 0.7, 0.0], [0.0, -0.7, 0.0], [-0.8, -0.5, 0.9]])


def pairs_of(*atoms: Atoms) -> Graph:
    return radius_graph(from_ase(list(atoms)), 2.9)


def random_blocks(pairs: Graph, size: int, widths: torch.Tensor | None = None) -> PairBlocks:
    generator = torch.Generator().manual_seed(0)
    diagonal, off = (
        torch.randn(count, size, size, dtype=torch.float64, generator=generator)
        for count in (len(pairs.species), len(pairs.center))
    )
    return PairBlocks(pairs=pairs, diagonal=diagonal, off=off, widths=widths)


def orbital_blocks(*atoms: Atoms) -> PairBlocks:
    pairs = pairs_of(*atoms)
    return random_blocks(pairs, 14, species_widths(pairs.species, ORBITALS))


def entries(blocks: PairBlocks) -> Iterator[tuple[int, int, list[int], torch.Tensor]]:
    """Atom of the rows, of the columns, image and block of S, one after the other."""
    pairs = blocks.pairs
    for i, block in enumerate(blocks.diagonal):
        yield i, i, [0, 0, 0], block
    ends = zip(pairs.center.tolist(), pairs.neighbor.tolist(), pairs.shift.tolist(), strict=True)
    for (i, j, shift), block in zip(ends, blocks.off, strict=True):
        yield i, j, shift, block


def by_loops(blocks: PairBlocks, q: tuple[float, float, float] = (0, 0, 0)) -> list[np.ndarray]:
    """The matrices of all structures, one function after the other."""
    species, found = blocks.pairs.species.tolist(), []
    for first, last in pairwise(blocks.pairs.offsets.tolist()):
        names = [(atom, k) for atom in range(first, last) for k in range(ORBITALS[species[atom]])]
        place = {name: number for number, name in enumerate(names)}
        matrix = np.zeros((len(names), len(names)), dtype=complex)
        for i, j, shift, block in entries(blocks):
            if not first <= i < last:
                continue
            phase = np.exp(2j * math.pi * np.dot(shift, q))
            for k in range(ORBITALS[species[i]]):
                for m in range(ORBITALS[species[j]]):
                    value = float(block[k, m]) * phase
                    matrix[place[i, k], place[j, m]] += value
                    matrix[place[j, m], place[i, k]] += np.conj(value)
        found.append(matrix)
    return found


def test_matrices_of_oxygen_and_hydrogen_are_those_of_loops_over_functions():
    blocks = orbital_blocks(water(), hydroxide(), peroxide())
    assert blocks.sizes.tolist() == [24, 19, 38]
    for got, expected in zip(blocks.dense(), by_loops(blocks), strict=True):
        assert np.abs(got.numpy() - expected).max() < 1e-12
        assert torch.equal(got, got.T)


def test_the_flat_vector_is_one_half_of_the_matrices_row_by_row():
    blocks = orbital_blocks(water(), peroxide())
    half, pointers = blocks.flat()
    assert pointers.tolist() == [0, 24**2, 24**2 + 38**2]
    for k, (size, expected) in enumerate(zip((24, 38), blocks.dense(), strict=True)):
        square = half[pointers[k] : pointers[k + 1]].view(size, size)
        assert torch.equal(square + square.T, expected)


@pytest.mark.parametrize("q", [(0.0, 0.0, 0.0), (0.2, -0.3, 0.45)])
def test_the_bloch_sum_is_that_of_loops_over_functions(q):
    blocks = orbital_blocks(hydroxide())
    (expected,) = by_loops(blocks, q)
    got = blocks.bloch(torch.tensor(q, dtype=torch.float64)).numpy()
    assert np.abs(got - expected).max() < 1e-12
    assert np.array_equal(got, got.conj().T)


def test_images_add_up_to_the_matrix():
    blocks = orbital_blocks(hydroxide())
    total = np.zeros((2, 2, 14, 14))
    rows, columns, shifts, values = blocks.images()
    np.add.at(total, (rows.numpy(), columns.numpy()), values.numpy())
    (expected,) = blocks.dense()
    joined = np.block([[total[0, 0], total[0, 1][:, :5]], [total[1, 0][:5], total[1, 1][:5, :5]]])
    assert np.abs(joined - expected.numpy()).max() < 1e-12
    assert not total[0, 1][:, 5:].any()
    assert not total[1, 1][5:].any()
    assert bool(shifts.any())


def test_what_lies_beyond_the_widths_does_not_matter():
    blocks = orbital_blocks(peroxide())
    hydrogen = blocks.pairs.species == 1
    blocks.diagonal[hydrogen, 5:] = torch.nan
    blocks.off[hydrogen[blocks.pairs.center], 5:] = torch.nan
    blocks.off[hydrogen[blocks.pairs.neighbor], :, 5:] = torch.nan
    assert bool(blocks.dense()[0].isfinite().all())
    assert bool(blocks.images()[3].isfinite().all())


def test_equal_widths_are_the_same_as_none():
    pairs = pairs_of(water(), hydroxide())
    plain = random_blocks(pairs, 3)
    wide = random_blocks(pairs, 3, torch.full((5,), 3))
    assert all(torch.equal(a, b) for a, b in zip(plain.dense(), wide.dense(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(plain.flat(), wide.flat(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(plain.images(), wide.images(), strict=True))


def test_matrices_can_be_differentiated():
    pairs = pairs_of(water())
    widths = species_widths(pairs.species, ORBITALS)
    off = torch.ones(len(pairs.center), 14, 14, dtype=torch.float64, requires_grad=True)
    diagonal = torch.zeros(3, 14, 14, dtype=torch.float64)
    blocks = PairBlocks(pairs=pairs, diagonal=diagonal, off=off, widths=widths)
    (gradient,) = torch.autograd.grad(blocks.dense()[0].sum(), off)
    numbers = widths[pairs.center] * widths[pairs.neighbor]
    assert torch.equal(gradient.sum(dim=(1, 2)), 2.0 * numbers)


def test_an_element_without_width_is_named():
    species = torch.tensor([1, 8, 26])
    assert species_widths(species[:2], ORBITALS).tolist() == [5, 14]
    with pytest.raises(UnknownElementError, match=r"none for Fe\. Known are H, O"):
        species_widths(species, ORBITALS)


@pytest.mark.parametrize("widths", [[5, 14, 15], [0, 5, 5]])
def test_widths_that_do_not_fit_the_blocks(widths):
    with pytest.raises(ConfigError, match=r"Expected widths from 1 to 14.*got"):
        random_blocks(pairs_of(water()), 14, torch.tensor(widths))


def test_widths_of_another_number_of_atoms():
    blocks = orbital_blocks(water())
    with pytest.raises(ConfigError, match="one width for each of 3 atoms"):
        check_alone(blocks, widths=torch.tensor([5, 14]))


@pytest.mark.parametrize(
    ("diagonal", "off"),
    [
        ((3, 5, 5), (6, 5, 4)),
        ((3, 5, 4), (6, 5, 5)),
        ((2, 5, 5), (6, 5, 5)),
        ((3, 5, 5), (5, 5, 5)),
    ],
)
def test_blocks_that_do_not_fit_the_pairs(diagonal, off):
    blocks = random_blocks(pairs_of(water()), 5)
    with pytest.raises(ConfigError, match=r"square blocks of one size.*3 atoms and 6 pairs"):
        check_alone(blocks, diagonal=torch.zeros(diagonal), off=torch.zeros(off))


def check_alone(blocks: PairBlocks, **changes: torch.Tensor) -> None:
    """Check blocks with other fields; in tests the check of shapes would else come first."""
    for name, value in changes.items():
        object.__setattr__(blocks, name, value)
    blocks.__post_init__()


def test_the_bloch_sum_is_of_one_crystal():
    blocks = random_blocks(pairs_of(hydroxide(), hydroxide()), 3)
    with pytest.raises(ConfigError, match="one crystal, got those of 2 structures"):
        blocks.bloch(torch.zeros(3, dtype=torch.float64))
