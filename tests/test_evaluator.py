"""Predictions for many structures in batches."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.evaluator import batches, is_out_of_memory, predict
from tests.simulate.morse import Morse


class Small(Morse):
    """Has memory for a few structures only."""

    most, calls = 2, 0

    def forward(self, graph):
        if len(graph) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        Small.calls += 1
        return super().forward(graph)


def structures(number=7):
    return from_ase([bulk("Cu", a=3.5 + 0.05 * i) * (1, 1, 1 + i % 3) for i in range(number)])


def test_batches_that_do_not_fit_are_halved():
    Small.calls = 0
    expected = predict(Conservative(Morse()), structures())
    found = predict(Conservative(Small()), structures())
    for key, value in expected.items():
        assert torch.allclose(found[key], value, atol=1e-12)
    assert Small.calls == 4


def test_one_structure_that_does_not_fit_is_an_error():
    class Nothing(Small):
        most = 0

    with pytest.raises(torch.OutOfMemoryError):
        predict(Conservative(Nothing()), structures(2))


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_for_want_of_memory(error, answer):
    assert is_out_of_memory(error) == answer


def test_batches_hold_so_many_atoms_or_one_structure():
    many = from_ase(
        [Atoms("Cu" * n, positions=[[3.0 * i, 0, 0] for i in range(n)]) for n in (3, 2, 9, 1)]
    )
    assert [list(which) for which in batches(many, 5)] == [[0, 1], [2], [3]]
