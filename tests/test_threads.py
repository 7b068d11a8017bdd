"""Pieces of work run on as many threads as they are worth."""

import pytest
import torch
from ase.build import bulk, molecule

from matkit.calculator import MatkitCalculator
from matkit.interfaces import Potential
from matkit.nn.kernels import launch
from matkit.threads import FEW_EDGES, one_thread, threads_for


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Observer(Potential):
    """Constant energy, or constant energy and no forces; notes the threads it runs on."""

    def __init__(self, provides=("atom_energy",)):
        super().__init__()
        self.species, self.cutoff, self.provides = (8, 13, 1), 5.0, frozenset(provides)
        self.weight = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
        self.threads = []

    def forward(self, graph):
        self.threads.append(torch.get_num_threads())
        zero = self.weight * graph.vectors.sum()
        whole = {
            "atom_energy": zero + graph.positions.new_zeros(len(graph.species)),
            "forces": zero + torch.zeros_like(graph.positions),
        }
        return {key: value for key, value in whole.items() if key in self.provides}


@pytest.mark.parametrize("provides", [("atom_energy",), ("atom_energy", "forces")])
def test_a_network_runs_on_one_thread_on_few_atoms_and_on_all_on_many(provides):
    calc = MatkitCalculator(Observer(provides), device="cpu")
    for atoms, threads in ((molecule("H2O"), 1), (bulk("Al", cubic=True).repeat(4), 2)):
        atoms.calc = calc
        atoms.get_forces()
        assert calc.potentials[0].network.threads[-1] == threads
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("edges", "inside"), [(FEW_EDGES - 1, 1), (FEW_EDGES, 2)])
def test_the_number_of_threads_follows_the_edges(edges, inside):
    with threads_for(edges):
        assert torch.get_num_threads() == inside
    assert torch.get_num_threads() == 2


def test_an_error_gives_the_threads_back():
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert torch.get_num_threads() == 2


def test_a_launch_on_few_edges_or_rows_is_one_chunk():
    few, many = torch.arange(0, 101, 10), torch.arange(0, 5001, 10)
    assert launch.row_chunks(few) == [0, 10]
    assert len(launch.row_chunks(many)) > 2
    assert launch.row_chunks(many)[-1] == 500
    assert launch.even_chunks(100) == [0, 100]
    assert len(launch.even_chunks(10_000)) > 2


def test_rows_without_edges_are_one_chunk():
    assert launch.row_chunks(torch.zeros(101, dtype=torch.long)) == [0, 100]
