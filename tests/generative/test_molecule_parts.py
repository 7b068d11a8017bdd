"""Parts of generators of molecules: pairs, classes, alignment, scaffolds, uncovering."""

from itertools import permutations

import pytest
import torch
from ase.build import molecule
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from matkit.errors import StructureError
from matkit.generative.parts.alignment import aligned, centred, permuted, rotations
from matkit.generative.parts.given import Given
from matkit.generative.parts.joint_path import Jumps, joint_path, joint_start, joint_step
from matkit.generative.parts.layout import atom_mask
from matkit.generative.parts.masked import cover_again, uncover_surest
from matkit.generative.parts.molecules import Classes, guided_ends, pair_mask
from matkit.generative.parts.pairs import pair_number, pairs_of, square
from matkit.generative.parts.randomness import Noise
from matkit.generative.parts.scaffolds import random_parts
from matkit.nn.property_embedding import PropertyEmbedding
from matkit.structures import Structures
from matkit.testing.systems import bonded, random_rotation
from tests.generative.crystals import normal

CLASSES = Classes((1, 6, 8), (-1, 0, 1), (1.0, 2.0))


def molecules() -> Structures:
    """Methanol, water and an oxonium ion, one bond of which is double."""
    found = bonded(molecule("CH3OH"), molecule("H2O"), molecule("NH3"))
    species = torch.where(found.species == 7, 8, found.species)
    order, charge = found.bond["order"].clone(), found.atom["formal_charge"].clone()
    order[0], charge[-4] = 2.0, 1
    return found.replace(species=species, bond={"order": order}, atom={"formal_charge": charge})


def table(structures):
    """Bonds with their orders by atoms."""
    pairs = zip(structures.bonds.tolist(), structures.bond["order"].tolist(), strict=True)
    return {frozenset(ends): order for ends, order in pairs}


def test_dense_molecules_and_back():
    before = molecules()
    after = CLASSES.structures(CLASSES.dense(before, torch.float64))
    assert torch.equal(after.species, before.species)
    assert torch.equal(after.n_atoms, before.n_atoms)
    assert torch.equal(after.positions, before.positions)
    assert torch.equal(after.atom["formal_charge"], before.atom["formal_charge"])
    assert table(after) == table(before)
    for whole, part in zip(after.split(), before.split(), strict=True):
        assert table(whole) == table(part)


def test_what_is_no_class_is_named():
    with pytest.raises(StructureError, match="does not know the formal charge 1. It knows: 0"):
        Classes((1, 6, 8), (0,), (1.0, 2.0)).dense(molecules(), torch.float64)


def test_pairs_of_a_smaller_molecule_come_first():
    for n in (1, 2, 5):
        left, right = torch.tril_indices(n, n, -1)
        assert torch.equal(pair_number(right, left), torch.arange(len(left)))
    mask = atom_mask(torch.tensor([4, 1, 3]))
    pairs = pairs_of(mask, torch.float64)
    assert torch.equal(pairs.mask, pair_mask(mask))
    assert pairs.mask.sum(dim=1).tolist() == [6, 0, 3]
    assert torch.equal(pairs.incidence.sum(dim=2), (mask.sum(dim=1, keepdim=True) - 1) * mask)
    values = normal(3, 6, 2)
    dense = square(values, pairs.number)
    assert torch.equal(dense, dense.transpose(1, 2))
    assert not dense.diagonal(dim1=1, dim2=2).any()
    assert torch.equal(dense[:, pairs.left, pairs.right], values)


def test_the_order_is_the_best_of_all():
    start, end, mask = normal(1, 5, 3), normal(1, 5, 3, seed=1), torch.ones(1, 5).bool()
    kind = torch.tensor([[0, 1, 0, 1, 1]])
    found = permuted(start, end, kind, mask)
    allowed = [p for p in permutations(range(5)) if torch.equal(kind[0, list(p)], kind[0])]
    best = min(float((start[0, list(p)] - end[0]).square().sum()) for p in allowed)
    assert float((found - end).square().sum()) == pytest.approx(best)
    assert len(allowed) == 12


def test_padding_stays_behind():
    mask = atom_mask(torch.tensor([2, 4]))
    start = normal(2, 4, 3) * mask.unsqueeze(2)
    found = permuted(start, normal(2, 4, 3, seed=1), torch.zeros(2, 4).long(), mask)
    assert not found[0, 2:].any()
    assert torch.equal(found[0].sum(dim=0), start[0].sum(dim=0))


def test_the_orientation_is_the_best_of_all():
    start, end = normal(1, 5, 3), normal(1, 5, 3, seed=1)
    turn = rotations(start, end)
    assert torch.allclose(torch.linalg.det(turn), torch.ones(1).double())

    def way(vector):
        moved = start[0].numpy() @ Rotation.from_rotvec(vector).as_matrix()
        return ((moved - end[0].numpy()) ** 2).sum()

    best = min(minimize(way, x).fun for x in normal(6, 3).numpy())
    assert float((start @ turn - end).square().sum()) == pytest.approx(best, rel=1e-6)


def test_alignment_only_turns_what_has_no_orientation():
    start, end, mask = normal(2, 4, 3), normal(2, 4, 3, seed=1), torch.ones(2, 4).bool()
    kind = torch.arange(4).repeat(2, 1)
    found = aligned(start, end, kind, torch.tensor([True, False]), mask)
    assert torch.equal(found[1], start[1])
    assert (found[0] - end[0]).square().sum() < (start[0] - end[0]).square().sum()
    assert torch.allclose(found[0] @ found[0].mT, start[0] @ start[0].mT)


def test_a_turned_molecule_gets_turned_noise():
    mask = torch.ones(1, 5).bool()
    end = centred(normal(1, 5, 3), mask, mask)
    turn = random_rotation()
    kind = torch.zeros(1, 5).long()
    assert torch.allclose(
        aligned(end, end @ turn, torch.arange(5).view(1, 5), mask[:, 0], mask), end @ turn
    )
    assert torch.allclose(aligned(end.flip(1), end, kind, mask[:, 0], mask), end)


def seeds(count):
    return Noise(torch.arange(count))


def test_random_parts_are_connected_and_not_all():
    whole = CLASSES.dense(bonded(molecule("CH3CH2OH")), torch.float64)
    many = whole.index(torch.zeros(300, dtype=torch.long))
    pairs = pairs_of(many.mask, torch.float64)
    near = 1 - many.bonds[..., :1]
    heavy = many.species[..., 0] == 0
    parts = random_parts(near, heavy, pairs, seeds(300))
    links = square(near, pairs.number)[0, ..., 0] > 0
    sizes = set()
    for part in parts:
        atoms = part.nonzero().flatten()
        if not len(atoms):  # it would have been the whole molecule
            continue
        assert len(atoms) < 9
        reach = torch.zeros_like(part)
        reach[atoms[0]] = True
        for _ in range(9):
            reach = reach | ((links & reach).any(dim=1) & part)
        assert torch.equal(reach, part)
        sizes.add((int((part & heavy[0]).sum()), int((part & ~heavy[0]).sum())))
    assert parts.any(dim=1).double().mean() > 0.8
    assert {heavy for heavy, _ in sizes} == {1, 2, 3}
    assert {hydrogens for _, hydrogens in sizes} >= {0, 1, 2, 3}


def test_molecules_without_heavy_atoms_show_nothing():
    dense = CLASSES.dense(bonded(molecule("H2")), torch.float64)
    near = 1 - dense.bonds[..., :1]
    parts = random_parts(
        near, dense.species[..., 0] == 0, pairs_of(dense.mask, torch.float64), seeds(1)
    )
    assert not parts.any()


def test_covering_again_spares_what_is_given():
    species = torch.eye(3).repeat(4000, 1, 1)
    free = torch.tensor([True, True, False]).repeat(4000, 1)
    draw = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    after = cover_again(species, 0.2, draw, free).sum(dim=2)
    assert bool(after[:, 2].all())
    assert after[:, :2].mean() == pytest.approx(0.8, abs=0.02)


def uncovered(logits, chance, free, count=4000):
    covered = torch.zeros(count, len(logits), 2, dtype=torch.float64)
    noise = seeds(count)
    draws = noise.uniform(), noise.uniform(len(logits), 3)
    many = torch.tensor(logits, dtype=torch.float64).expand(count, -1, 2)
    return uncover_surest(covered, many, chance, draws, torch.tensor(free).expand(count, -1))


def test_the_surest_are_uncovered_first():
    after = uncovered([[3.0, 0.0], [0.0, 0.0], [9.0, 0.0]], 0.5, [True, True, False])
    assert not after[:, 2].any()
    assert (after.sum(dim=(1, 2)) == 1).all()  # one of the two that are free
    # Sure with p = 0.953 against 0.5, where it is the likely class; in turns otherwise.
    p = torch.sigmoid(torch.tensor(3.0)).item()
    first = p * p / (p + 0.5) + (1 - p) * (1 - p) / (1.5 - p)
    assert after[:, 0].sum(dim=1).mean() == pytest.approx(first, abs=0.03)


def test_as_many_are_uncovered_as_chance_says():
    for chance in (0.1, 0.6, 1.0):
        after = uncovered([[1.0, 0.0]] * 3, chance, [True] * 3).sum(dim=2)
        assert after.mean() == pytest.approx(chance, abs=0.02)
        counts = after.sum(dim=1)
        assert counts.max() - counts.min() <= 1


def test_classes_are_drawn_as_the_logits_say():
    after = uncovered([[1.0, 0.0]], 1.0, [True])
    assert after[:, 0, 0].mean() == pytest.approx(0.731, abs=0.03)


def no_scaffold(mask):
    nothing = torch.zeros_like(mask)
    return Given(nothing, nothing, mask)


def test_as_many_are_covered_as_the_time_says():
    data = CLASSES.dense(bonded(molecule("CH3OH")), torch.float64)
    many = data.index(torch.zeros(2000, dtype=torch.long))
    time = torch.full((2000,), 0.3, dtype=torch.float64)
    noise = seeds(2000)
    given = no_scaffold(many.mask)
    start = joint_start(many, given, noise, pairing=False)
    now, covered = joint_path(start, many, given, time, noise)
    for hidden, value in zip(covered, (now.species, now.charges, now.bonds), strict=True):
        assert hidden.double().mean() == pytest.approx(0.7, abs=0.03)
        assert torch.equal(value.sum(dim=2) == 0, hidden)
    assert start.mean(dim=1).abs().max() < 1e-12
    assert start.square().mean() == pytest.approx(5 / 6, abs=0.02)  # without the centre


def test_steps_keep_as_many_covered_as_the_path():
    data = CLASSES.dense(bonded(molecule("CH3OH")), torch.float64)
    many = data.index(torch.zeros(1000, dtype=torch.long))
    given, noise = no_scaffold(many.mask), seeds(1000)
    now = CLASSES.empty(many.mask, torch.float64)
    steps = 40
    for step in range(steps):
        now = joint_step(now, many, given, (step, steps), Jumps(10.0, 0.5), noise)
        left = (now.bonds.sum(dim=2) == 0).double().mean()
        assert left == pytest.approx(1 - (step + 1) / steps, abs=0.03)
    assert torch.allclose(now.positions, given.settled(many.positions))


def test_guided_predictions():
    a = CLASSES.dense(bonded(molecule("CH3OH")), torch.float64)
    b = CLASSES.empty(a.mask, torch.float64)
    assert torch.equal(guided_ends(a, b, 1.0).positions, a.positions)
    assert torch.equal(guided_ends(a, b, 2.0).bonds, 2 * a.bonds)


def test_properties_that_are_not_told_do_not_count():
    torch.manual_seed(0)
    network = PropertyEmbedding({"a": (1.0, 2.0), "b": (0.0, 1.0)}, 4).double()
    like = torch.zeros(2, dtype=torch.float64)
    nothing = network({}, like)
    nan = torch.full((2,), torch.nan)
    assert torch.equal(network({"a": nan, "b": nan}, like), nothing)
    mean = network({"a": torch.ones(2)}, like)  # of the mean value, which is not nothing
    assert not torch.allclose(mean, nothing)
    assert not PropertyEmbedding({}, 4)({}, like).any()
    network.mute()
    assert not network({"a": torch.ones(2)}, like).any()
