"""Read-outs of sets: closed forms, and local structure learnt from directions to neighbours."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from matkit.data.ase import from_ase
from matkit.errors import ConfigError
from matkit.neighbors import radius_graph
from matkit.nn.heads.clouds import GeometricAttention, neighbor_clouds, product_invariants
from matkit.nn.heads.pooling import POOLS, DeepSet, pool_rows
from matkit.structures import cat
from matkit.testing.systems import random_rotation


@pytest.mark.parametrize(
    ("pool", "expected"), [("sum", [4.0, 0.0, 5.0]), ("mean", [2.0, 0.0, 5.0]), ("max", [3, 0, 5])]
)
def test_pools_of_two_no_and_one_atom(pool, expected):
    rows, batch = torch.tensor([[5.0], [1.0], [3.0]]), torch.tensor([2, 0, 0])
    assert pool_rows(rows, batch, 3, pool).squeeze(1).tolist() == expected


@pytest.mark.parametrize("pool", POOLS)
def test_order_and_company_do_not_matter_and_only_the_sum_is_extensive(pool):
    torch.manual_seed(0)
    layer, x = DeepSet(4, pool), torch.randn(5, 4)
    once = layer(x, torch.zeros(5, dtype=torch.long), 1)[0]
    twice = torch.cat([x, torch.randn(2, 4), x.flip(0)])
    batch = torch.tensor([1] * 5 + [0] * 2 + [1] * 5)
    factor = 2 if pool == "sum" else 1
    assert torch.allclose(layer(twice, batch, 2)[1], factor * once, atol=1e-6)


def test_a_pool_is_one_of_three():
    with pytest.raises(ConfigError, match="Unknown pool 'min'"):
        DeepSet(4, "min")


@pytest.fixture(scope="module")
def attention():
    torch.manual_seed(0)
    return GeometricAttention(3, 8).double()


@pytest.fixture(scope="module")
def cloud():
    """Two clouds of five and three points with features."""
    torch.manual_seed(1)
    present = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    return torch.randn(2, 5, 3).double(), torch.randn(2, 5, 3).double(), present


def test_products_are_those_of_the_algebra(cloud):
    points = cloud[0]
    found = product_invariants(points)
    a, b = points[0, 1], points[0, 3]
    lengths, cosine = a.norm() * b.norm(), torch.nn.functional.cosine_similarity(a, b, dim=0)
    assert float(found[0, 1, 3, 0]) == pytest.approx(float(lengths * cosine))
    assert float(found[0, 1, 3, 1]) == pytest.approx(float(lengths * (1 - cosine**2).sqrt()))


def test_one_pair_of_points_is_all_that_is_averaged(attention):
    """A cloud of one point: the value of its product with itself, with a weight of one."""
    point, value = torch.tensor([[[0.0, 3.0, 4.0]]]).double(), torch.randn(1, 1, 3).double()
    product = attention.of_product(torch.tensor([25.0, 1e-6]).double())
    inner = product + attention.of_first(value[0, 0]) + attention.of_second(value[0, 0])
    found = attention(point, value, torch.tensor([[True]]))
    assert torch.allclose(found[0], attention.value(inner), rtol=0, atol=1e-12)


def test_rotations_mirrors_and_order_change_nothing(attention, cloud):
    points, values, present = cloud
    before = attention(points, values, present)
    for turn in (random_rotation(), -random_rotation()):
        assert torch.allclose(attention(points @ turn.T, values, present), before, atol=1e-12)
    order = torch.tensor([3, 0, 4, 2, 1])
    mixed = attention(points[:, order], values[:, order], present[:, order])
    assert torch.allclose(mixed, before, atol=1e-12)


def test_absent_points_do_not_matter_even_if_they_are_no_numbers(attention, cloud):
    points, values, present = cloud
    points, values = points.clone(), values.clone()
    points[1, 3:], values[1, 3:] = torch.nan, 1e6
    padded = attention(points, values, present)[1]
    alone = attention(points[1:, :3], values[1:, :3], present[1:, :3])[0]
    assert torch.allclose(padded, alone, rtol=0, atol=1e-12)
    assert not attention(points, values, torch.zeros_like(present)).any()


def test_gradients_are_finite_where_points_coincide(attention, cloud):
    points = cloud[0].clone()
    points[0, 1] = points[0, 0]
    points.requires_grad_()
    attention(points, *cloud[1:]).sum().backward()
    assert points.grad.isfinite().all()
    assert points.grad.abs().max() > 0


def test_clouds_are_the_nearest_neighbors():
    structures = cat([from_ase(a) for a in (Atoms("He"), molecule("H2O"), bulk("Cu", a=3.6))])
    points, neighbors, present = neighbor_clouds(radius_graph(structures, 3.7), 12)
    assert present.sum(1).tolist() == [0, 2, 2, 2, 12]
    assert neighbors[1, :2].sort().values.tolist() == [2, 3]
    assert torch.allclose(points[4].norm(dim=1), torch.tensor(3.6 / 2**0.5).double())
    assert torch.allclose(
        points[1, 0], structures.positions[neighbors[1, 0]] - structures.positions[1]
    )


LATTICES = {
    "fcc": bulk("Cu", "fcc", a=3.61),
    "bcc": bulk("Fe", "bcc", a=2.87),
    "hcp": bulk("Mg", "hcp", a=3.21, c=5.21),
    "diamond": bulk("Si", "diamond", a=5.43),
}


def noisy_clouds(seed):
    """Clouds of 12 neighbours at a mean distance of one, and the number of their lattice."""
    frames, labels = [], []
    for label, cell in enumerate(LATTICES.values()):
        atoms = cell * ((3, 3, 3) if len(cell) == 1 else (3, 3, 2))
        atoms.rattle(0.04 * cell.get_volume() ** (1 / 3) / len(cell) ** (1 / 3), seed=seed)
        frames.append(from_ase(atoms))
        labels += [label] * len(atoms)
    points, _, present = neighbor_clouds(radius_graph(cat(frames), 6.0), 12)
    points = points / points.norm(dim=2).mean(dim=1)[:, None, None]
    return points.float(), present, torch.tensor(labels)


def test_it_learns_to_tell_lattices_of_rattled_crystals():
    torch.manual_seed(0)
    pooling = GeometricAttention(1, 16)
    # Means over many pairs differ little from cloud to cloud, so that they need a scale.
    last = torch.nn.Sequential(torch.nn.BatchNorm1d(16, momentum=1.0), torch.nn.Linear(16, 4))
    optimizer = torch.optim.Adam([*pooling.parameters(), *last.parameters()], lr=0.02)

    def logits(points, present):
        return last(pooling(points, points.norm(dim=2, keepdim=True), present))

    points, present, labels = noisy_clouds(seed=0)
    for step in range(30):
        rows = torch.arange(step % 2, len(labels), 2)
        loss = torch.nn.functional.cross_entropy(logits(points[rows], present[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        logits(points, present)  # for the scale of all of them
        last.eval()
        points, present, labels = noisy_clouds(seed=2)
        right = logits(points, present).argmax(dim=1) == labels
    assert float(right.double().mean()) > 0.9
