"""Crystals kept to space groups: the parts alone, then untrained networks of both models."""

from dataclasses import replace

import pytest
import spglib
import torch

from matkit.data.ase import to_ase
from matkit.errors import ConfigError, StructureError, UnknownNameError
from matkit.generative.crystalflow import CrystalFlow
from matkit.generative.diffcsp import DiffCSP
from matkit.generative.parts.denoiser import Noisy, Prediction
from matkit.generative.parts.lattice import from_logarithm
from matkit.generative.parts.layout import atom_mask, fractional_coordinates, pad
from matkit.generative.parts.randomness import Noise
from matkit.generative.parts.symmetry import Symmetry, symmetry_of
from matkit.generative.parts.torus import shortest
from matkit.interfaces import Condition, Generator
from matkit.structures import Structures, cat
from matkit.symmetry.genes import gene_of
from matkit.symmetry.normalizer import canonical_orbits
from tests.generative.crystals import draw, normal, uniform

OX, NA, CL, TI = 8, 11, 17, 22
# Number of a group and species in the cell; all crystal systems and kinds of lattice.
CASES = [
    (1, [NA, CL]),
    (2, [NA, NA, CL, CL]),
    (5, [NA, CL, NA]),
    (14, [TI] * 4 + [OX] * 8),
    (41, [NA, NA, OX, OX, OX, OX]),
    (62, [OX] * 4 + [TI] * 4),
    (92, [OX, TI] * 4),
    (139, [TI, OX, NA, OX, NA]),
    (146, [NA, NA, CL, CL]),
    (166, [NA, TI, OX, OX]),
    (194, [NA, NA]),
    (198, [OX, OX, OX, OX, NA, NA, NA, NA]),
    (221, [OX, TI, OX, NA, OX]),
    (225, [NA, CL]),
    (225, [NA, CL] * 4),
    (227, [NA, NA]),
]


def asked(cases: list[tuple[int, list[int]]], **more) -> Condition:
    return Condition(
        n_atoms=torch.tensor([len(species) for _, species in cases]),
        species=torch.tensor([z for _, species in cases for z in species]),
        space_group=torch.tensor([number for number, _ in cases]),
        **more,
    )


@pytest.fixture(scope="module")
def symmetry() -> Symmetry:
    made = symmetry_of(asked(CASES), 20, Noise(torch.arange(len(CASES))))
    assert made is not None
    return made


@pytest.fixture
def shape(symmetry) -> tuple[int, ...]:
    return tuple(symmetry.translation.shape)


def unchanged(symmetry: Symmetry, fractional: torch.Tensor) -> bool:
    """Whether each atom is still where its anchor's operation puts it, modulo the lattice."""
    at = torch.einsum("bnij,bnj->bni", symmetry.rotation, symmetry.of_anchor(fractional))
    return bool(shortest(at + symmetry.translation - fractional).abs().max() < 1e-9)


def test_nothing_is_drawn_without_a_group():
    noise = Noise(torch.arange(1))
    condition = Condition(n_atoms=torch.tensor([2]), species=torch.tensor([NA, CL]))
    assert symmetry_of(condition, 20, noise) is None
    assert noise.calls == 0


def test_atoms_are_not_put_where_they_have_more_symmetry():
    # A third of the ways of corundum's formula only are of R-3c.
    made = symmetry_of(asked([(167, [TI] * 4 + [OX] * 6)] * 30), 20, Noise(torch.arange(30)))
    lattice = from_logarithm(made.logarithm(normal(30, 6)))
    places = made.start(uniform(30, 10, 3))
    numbers = [TI] * 4 + [OX] * 6
    for cell, fractional in zip(lattice.numpy(), places.numpy(), strict=True):
        assert spglib.get_symmetry_dataset((cell, fractional, numbers), 1e-5).number == 167


def test_orbits_are_of_one_species_and_complete(symmetry):
    condition = asked(CASES)
    species = condition.species.split(condition.n_atoms.tolist())
    for anchor, z in zip(symmetry.anchor, species, strict=True):
        assert torch.equal(z[anchor[: len(z)]], z)
        assert torch.equal(anchor[len(z) :], torch.arange(len(z), len(anchor)))


def test_coordinates_start_and_stay_symmetric(symmetry, shape):
    fractional = symmetry.start(uniform(*shape))
    assert unchanged(symmetry, fractional)
    moved = fractional + symmetry.average(normal(*shape)) + symmetry.spread(normal(*shape, seed=1))
    assert unchanged(symmetry, moved)
    assert torch.allclose(symmetry.settle(moved), moved, rtol=0, atol=1e-9)
    rounded = symmetry.settle(moved + 1e-6 * normal(*shape, seed=2))
    assert unchanged(symmetry, rounded)
    assert torch.allclose(rounded, moved, rtol=0, atol=1e-4)


def test_average_is_a_projection_orthogonal_in_space(symmetry, shape):
    vectors, other = normal(*shape), normal(*shape, seed=1)
    mean = symmetry.average(vectors)
    assert torch.allclose(symmetry.average(mean), mean, rtol=0, atol=1e-9)
    root, _ = symmetry._frame  # a lattice that each group allows
    parts = vectors - mean, symmetry.average(other)
    mask = atom_mask(asked(CASES).n_atoms).unsqueeze(2)
    a, b = ((mask * part) @ root for part in parts)
    assert (a * b).sum(dim=(1, 2)).abs().max() < 1e-9
    assert b.abs().amax(dim=(1, 2))[0] > 0.1  # in P1 everything is free


def test_what_is_symmetric_already_stays(symmetry, shape):
    spread = symmetry.spread(normal(*shape))
    assert torch.allclose(symmetry.average(spread), spread, rtol=0, atol=1e-9)
    assert torch.allclose(symmetry.spread(spread), spread, rtol=0, atol=1e-9)
    assert torch.allclose(symmetry.average(spread)[0, :2], normal(*shape)[0, :2])  # in P1


def test_means_over_orbits(symmetry, shape):
    values = normal(*shape[:2], 4)
    mean = symmetry.orbit_mean(values)
    for b, anchors in enumerate(symmetry.anchor):
        for anchor in anchors.unique():
            expected = values[b, anchors == anchor].mean(dim=0)
            assert torch.allclose(mean[b, anchors == anchor], expected)
    assert torch.equal(symmetry.of_anchor(values)[1], values[1, symmetry.anchor[1]])


def test_lattices_by_their_logarithm(symmetry):
    k = 0.5 * normal(len(CASES), 6)
    allowed = symmetry.logarithm(k)
    assert torch.allclose(symmetry.logarithm(allowed), allowed, rtol=0, atol=1e-9)
    cell = from_logarithm(allowed)
    assert_allowed(symmetry, cell)
    before = torch.linalg.det(from_logarithm(k))
    assert torch.allclose(torch.linalg.det(cell), before, rtol=1e-9, atol=0)
    assert torch.allclose(allowed[:2], k[:2], rtol=0, atol=1e-9)  # triclinic: all are free


def test_conventional_lattices_are_those_of_diffcsp_plus_plus(symmetry):
    # The numbers that its table fixes: for cubic cells all but the size.
    cube = CASES.index((225, [NA, CL] * 4))
    k = 0.5 * normal(len(CASES), 6)
    expected = torch.tensor([0.0, 0, 0, 0, 0, float(k[cube, 5])], dtype=torch.float64)
    assert torch.allclose(symmetry.logarithm(k)[cube], expected, rtol=0, atol=1e-9)


def test_lattices_by_their_vectors(symmetry):
    noise = normal(len(CASES), 9)
    allowed = symmetry.matrix(noise)
    assert torch.allclose(symmetry.matrix(allowed), allowed, rtol=0, atol=1e-9)
    assert ((noise - allowed) * allowed).sum(dim=1).abs().max() < 1e-9
    assert_allowed(symmetry, allowed.view(-1, 3, 3))
    assert torch.allclose(allowed[:2], noise[:2], rtol=0, atol=1e-9)


def assert_allowed(symmetry: Symmetry, cell: torch.Tensor) -> None:
    metric = (cell @ cell.mT).unsqueeze(1)
    turned = symmetry.point_group.mT @ metric @ symmetry.point_group
    assert torch.allclose(turned, metric.expand_as(turned), rtol=0, atol=1e-9)


def test_impossible_wishes():
    noise = Noise(torch.arange(1))
    with pytest.raises(ConfigError, match=r"No Wyckoff positions of space group Pa-3 \(205\)"):
        symmetry_of(asked([(205, [NA, NA, CL, CL])]), 20, noise)
    with pytest.raises(UnknownNameError, match="numbers 1 to 230; got 300"):
        symmetry_of(asked([(300, [NA, CL])]), 20, noise)


# The models, untrained

TINY = {"width": 16, "layers": 2, "harmonics": 3, "time_channels": 8}
KNOWN = [OX, NA, CL, TI]
STEPS = 3


@pytest.fixture(params=[CrystalFlow, DiffCSP])
def make(request):
    def build(**more) -> Generator:
        torch.manual_seed(0)
        only = {"miller": 3} if request.param is CrystalFlow else {}
        return request.param(KNOWN, **TINY, **only, **more)

    return build


def found_by_spglib(crystal: Structures) -> tuple[int, set[tuple[int, ...]]]:
    """The group's number and the rotations of its operations, in the basis of the cell."""
    fractional = fractional_coordinates(crystal).numpy()
    # Untrained diffusion ends in cells of some micrometres; 10 Å^3 an atom is what spglib is for.
    size = (10 * len(crystal.species) / crystal.volume[0]) ** (1 / 3)
    cell = (size * crystal.cell[0]).numpy()
    found = spglib.get_symmetry_dataset((cell, fractional, crystal.species.numpy()), symprec=1e-3)
    return found.number, {tuple(w.flatten().tolist()) for w in found.rotations}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_crystals_have_the_group_that_was_asked_for(make, dtype):
    made = draw(make().to(dtype), asked(CASES), STEPS, 7)
    assert torch.equal(made.species, asked(CASES).species)
    symmetry = symmetry_of(asked(CASES), 20, Noise(7 + torch.arange(len(CASES))))
    mask = atom_mask(made.n_atoms)
    assert unchanged(symmetry, pad(fractional_coordinates(made), mask))
    numbers = []
    for b, (number, _) in enumerate(CASES):
        crystal = made.index([b])
        found, rotations = found_by_spglib(crystal)
        asked_for = symmetry.point_group[b].round().int().flatten(1).unique(dim=0)
        assert rotations >= set(map(tuple, asked_for.tolist())), number
        numbers.append(found)
    kept = [found == number for found, (number, _) in zip(numbers, CASES, strict=True)]
    assert sum(kept) >= len(CASES) - 3, numbers  # few atoms may have more symmetry


def test_species_that_are_generated_are_those_of_the_orbits(make):
    generator = make(generates_species=True)
    condition = replace(asked(CASES), species=None)
    made = draw(generator, condition, STEPS, 7)
    symmetry = symmetry_of(condition, 20, Noise(7 + torch.arange(len(CASES))))
    mask = atom_mask(made.n_atoms)
    species = pad(made.species, mask)
    assert torch.equal(species[mask], species.gather(1, symmetry.anchor)[mask])
    assert len(made.species.unique()) > 1


def test_same_seed_same_crystals_in_any_batch(make):
    generator = make().double()
    few = CASES[2:5] + CASES[-3:]
    together = draw(generator, asked(few), STEPS, 3)
    ends = [(0, 3), (3, 4), (4, 6)]
    parts = cat([draw(generator, asked(few[a:b]), STEPS, 3 + a) for a, b in ends])
    assert torch.equal(together.species, parts.species)
    assert torch.allclose(together.cell, parts.cell, rtol=1e-8, atol=1e-8)
    shift = fractional_coordinates(together) - fractional_coordinates(parts)
    assert shortest(shift).abs().max() < 1e-7
    again = draw(generator, asked(few), STEPS, 3)
    assert torch.equal(again.positions, together.positions)
    other = draw(generator, asked(few), STEPS, 30)
    assert not torch.allclose(other.cell, together.cell)


def test_a_flow_reaches_its_crystal_whatever_the_network_says_against_the_group():
    few = [CASES[5], CASES[7], CASES[12]]  # without a polar axis: the origin is fixed
    condition = asked(few)
    symmetry = symmetry_of(condition, 20, Noise(torch.arange(len(few))))
    shape = symmetry.translation.shape
    end = symmetry.start(uniform(*shape, seed=9))
    lattice = 10 * symmetry.logarithm(0.1 * normal(len(few), 6, seed=9))
    wrong = normal(*shape) - symmetry.average(normal(*shape))
    flow = CrystalFlow(KNOWN, slope=0.0, **TINY).double()

    def network(noisy: Noisy, time: torch.Tensor, *_) -> Prediction:
        left = (1 - time).view(-1, 1, 1)
        way = (end - noisy.fractional) / left
        return Prediction(way + wrong, (lattice - noisy.lattice) / left[:, 0], None)

    flow.network.forward = network  # type: ignore[method-assign]
    made = draw(flow, condition, 4, 0)
    mask = atom_mask(condition.n_atoms)
    shift = pad(fractional_coordinates(made), mask) - end
    assert (shortest(shift) * mask.unsqueeze(2)).abs().max() < 1e-9
    expected = from_logarithm(flow.units.center + 0.1 * lattice)
    metric = expected @ expected.mT
    assert torch.allclose(made.cell @ made.cell.mT, metric, rtol=1e-9, atol=1e-9)


def test_an_impossible_group_is_refused_before_any_network_is_called(make):
    generator = make()
    generator.network.forward = None  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"possible are 4, 8 formula units"):
        draw(generator, asked([(205, [NA, NA, CL, CL])]), STEPS, 0)


# Rutile with O on either of two positions of four atoms; rock salt in its conventional cell.
RUTILE, ROCK_SALT = [TI] * 2 + [OX] * 4, [NA] * 4 + [CL] * 4


@pytest.mark.parametrize(
    ("number", "species", "position", "conventional"),
    [
        (136, RUTILE, [0] * 2 + [5] * 4, False),
        (136, RUTILE, [1] * 2 + [6] * 4, False),
        (225, ROCK_SALT, [1] * 4 + [0] * 4, True),
    ],
)
def test_atoms_are_on_the_positions_that_are_asked_for(number, species, position, conventional):
    told = {"position": torch.tensor(position), "conventional": torch.tensor([conventional])}
    condition = asked([(number, species)], **told)
    (atoms,) = to_ase(draw(flow(), condition, 3, 0))
    gene = gene_of(atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    assert gene.number == number
    wanted = sorted(set(zip(species, position, strict=True)))
    found = list(zip(gene.species.tolist(), gene.position.tolist(), strict=True))
    assert canonical_orbits(number, found) == canonical_orbits(number, wanted)


def test_positions_that_do_not_hold_the_atoms():
    condition = asked([(136, RUTILE)], position=torch.tensor([0, 0, 5, 5, 5, 6]))
    with pytest.raises(StructureError, match="Expected 4 atoms on position 5 of space group 136"):
        draw(flow(), condition, 1, 0)


def flow() -> CrystalFlow:
    torch.manual_seed(0)
    small = {"width": 16, "layers": 1, "harmonics": 2, "time_channels": 8, "miller": 0}
    return CrystalFlow([OX, NA, CL, TI], 8, **small).eval()
