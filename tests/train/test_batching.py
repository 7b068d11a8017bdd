import numpy as np
import pytest
import torch

from matkit.data.ase import from_ase
from matkit.models import checkpoint
from matkit.testing.systems import SYSTEMS, crystal, water
from matkit.train import batching
from matkit.train.batching import Batches, GraphSet, loader

SIZES = np.random.default_rng(0).integers(1, 100, 1003)
HYPER = {"species": [1, 8, 11, 17], "irreps": ["4x0e", "4x0e"], "lmax": 0, "cutoff": 3.0}


def test_an_epoch_sees_every_structure_once():
    batches = Batches(SIZES, 8, seed=1)
    seen = [i for batch in batches for i in batch]
    assert sorted(seen) == list(range(len(SIZES)))
    assert max(map(len, batches)) == 8


def test_the_order_depends_on_seed_and_epoch_only():
    first, again, other = (Batches(SIZES, 8, seed=s) for s in (1, 1, 2))
    assert list(first) == list(again)
    assert list(first) != list(other)
    before = list(first)
    first.set_epoch(1)
    assert list(first) != before
    first.set_epoch(0)
    assert list(first) == before


def test_a_pass_can_be_taken_up_in_the_middle():
    batches = Batches(SIZES, 8, seed=1)
    whole = list(batches)
    batches.skip = 5
    assert list(batches) == whole[5:]
    assert len(batches) == len(whole)


def test_batches_hold_structures_of_similar_size():
    def spread(batches):
        return np.mean([np.ptp(SIZES[batch]) for batch in batches])

    unsorted = [list(range(i, min(i + 8, 1003))) for i in range(0, 1003, 8)]
    assert spread(Batches(SIZES, 8, seed=1)) < 0.3 * spread(unsorted)


def test_edges_of_a_batch_are_limited():
    batches = list(Batches(SIZES, 64, max_edges=150, seed=1))
    assert all(SIZES[batch].sum() <= 150 or len(batch) == 1 for batch in batches)
    assert sorted(i for batch in batches for i in batch) == list(range(len(SIZES)))


def test_processes_share_an_epoch():
    shares = [list(Batches(SIZES, 8, seed=1, processes=(rank, 3))) for rank in range(3)]
    assert len({len(share) for share in shares}) == 1
    assert {i for share in shares for batch in share for i in batch} == set(range(len(SIZES)))
    # None waits long for another: the costs of a step differ less than those of two steps.
    costs = np.array([[SIZES[batch].sum() for batch in share[:-1]] for share in shares])
    assert np.ptp(costs, axis=0).mean() < 0.2 * costs[0].std()
    # Without a seed, for validation, nothing is seen twice.
    shares = [list(Batches(SIZES, 8, processes=(rank, 3))) for rank in range(3)]
    seen = [i for share in shares for batch in share for i in batch]
    assert sorted(seen) == list(range(len(SIZES)))


@pytest.mark.parametrize("kept", [10**6, 0])
def test_graphs_of_a_batch_are_those_of_its_structures(monkeypatch, kept):
    monkeypatch.setattr(batching, "KEPT_EDGES", kept)
    potential = checkpoint.build("nequip", HYPER)
    structures = from_ase([make() for make in SYSTEMS.values()])
    graphs = GraphSet(potential, structures)
    assert (graphs.graph is None) == (kept == 0)
    which = [2, 0, 3]
    found, expected = graphs[which], potential.featurize(structures.index(which))
    for field in ("center", "neighbor", "shift", "positions", "species"):
        assert torch.equal(getattr(found, field), getattr(expected, field))
    counts = [
        len(potential.featurize(structures.index([i])).center) for i in range(len(structures))
    ]
    assert graphs.n_edges.tolist() == counts


def test_the_loader_gives_graphs():
    potential = checkpoint.build("nequip", HYPER)
    graphs = GraphSet(potential, from_ase([water(), crystal(), water()]))
    sizes = [len(graph) for graph in loader(graphs, Batches(graphs.n_edges, 2))]
    assert sizes == [2, 1]
