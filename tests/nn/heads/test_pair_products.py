import pytest
import torch
from ase.build import bulk, molecule

from matkit.data.ase import from_ase
from matkit.graph import Graph
from matkit.neighbors import radius_graph
from matkit.nn.heads import pair_products
from matkit.nn.heads.pair_products import PairProducts
from matkit.structures import cat

LONG, SHORT = 8.0, 4.0


def graph(*atoms) -> Graph:
    return radius_graph(cat([from_ase(a) for a in atoms]), LONG)


def molecules() -> Graph:
    return graph(*map(molecule, ("CH3CH2OH", "H2O", "H", "C6H6")))


def crystals() -> Graph:
    rattled = bulk("NaCl", "rocksalt", 5.6) * (2, 1, 1)
    rattled.rattle(0.1)
    return graph(rattled, bulk("Si"))


def matrices(pairs: Graph) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    short = torch.nonzero(pairs.vectors.norm(dim=1) < SHORT).squeeze(1)
    a, b = torch.randn(2, len(short), 3, 3, 5, dtype=torch.float64, generator=generator)
    return a, b, short


def brute_force(a, b, short, pairs):
    """Sums over all pairs of pairs, found by where they lead."""
    own = a.new_zeros(len(pairs.species), *a.shape[1:])
    others = a.new_zeros(len(pairs.center), *a.shape[1:])
    rows = zip(pairs.center.tolist(), pairs.neighbor.tolist(), pairs.shift.tolist(), strict=True)
    place = {(i, j, *shift): e for e, (i, j, shift) in enumerate(rows)}
    named = [(pairs.center[e], pairs.neighbor[e], pairs.shift[e]) for e in short]
    for m, (i, k, first) in enumerate(named):
        for n, (other, j, second) in enumerate(named):
            if k != other:
                continue
            product = torch.einsum("abc,bdc->adc", a[m], b[n])
            image = (first + second).tolist()
            if i == j and not any(image):
                own[i] += product
            else:
                others[place[int(i), int(j), *image]] += product
    return own, others


@pytest.mark.parametrize("make", [molecules, crystals])
def test_chains_add_up_as_brute_force_does(make):
    pairs = make()
    a, b, short = matrices(pairs)
    found = pair_products._by_chains(a, b, short, pairs)
    for ours, theirs in zip(found, brute_force(a, b, short, pairs), strict=True):
        assert theirs.any()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("step", [1, 4], ids=["one by one", "all at once"])
def test_full_matrices_equal_chains(step):
    pairs = molecules()
    a, b, short = matrices(pairs)
    full = pair_products._by_matrices(a, b, short, pairs, step)
    for ours, theirs in zip(full, pair_products._by_chains(a, b, short, pairs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_large_molecules_give_the_same_without_full_matrices(monkeypatch):
    pairs = molecules()
    given = (*matrices(pairs), pairs)
    before = pair_products.pair_products(*given)
    monkeypatch.setattr(pair_products, "FULL_ATOMS", 3)
    for few, many in zip(before, pair_products.pair_products(*given), strict=True):
        torch.testing.assert_close(few, many, rtol=0, atol=1e-12)


def test_smooth_where_a_pair_leaves_the_products():
    torch.manual_seed(0)
    module = PairProducts(channels=3, products=2, cutoff=SHORT).double()

    def sums(length: float) -> torch.Tensor:
        atoms = molecule("H2O")
        atoms.positions = [[0, 0, 0], [length, 0, 0], [-1.0, 0.3, 0]]
        pairs = graph(atoms)
        x = tuple(torch.ones(len(pairs.center), m, 3, dtype=torch.float64) for m in (1, 3, 5))
        features, own = module(x, pairs.vectors.norm(dim=1), pairs)
        return torch.cat([part.flatten() for part in (*features, *own)])

    at, near, far = (sums(SHORT - distance) for distance in (0.0, 0.01, 0.04))
    assert 0 < (near - at).abs().max() < 0.1 * (far - at).abs().max()


def test_one_atom_has_no_products():
    module = PairProducts(channels=3, products=2, cutoff=SHORT)
    pairs = graph(molecule("H"))
    features, own = module(tuple(torch.ones(0, m, 3) for m in (1, 3, 5)), torch.ones(0), pairs)
    assert [len(part) for part in (*features, *own)] == [0, 0, 0, 1, 1, 1]
    assert not any(part.any() for part in own)
