"""Padded graphs and recorded steps, on the CPU: a recording computes its function again."""

import copy
import gc
import logging

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.neighbors import radius_graph
from matkit.neighbors.padding import PER_DOUBLING, SMALLEST, bucket, pad
from matkit.neighbors.verlet import VerletList
from matkit.nn.radial import polynomial_envelope
from matkit.nn.scatter import scatter_sum
from matkit.replay import RECORDINGS, Replay
from matkit.scopes import cat
from matkit.simulate.batched.forces import BatchForces
from matkit.simulate.batched.limits import BatchLimit
from matkit.testing.systems import SYSTEMS, crystal, water
from tests.potentials.test_nequip import SEVENNET, TINY

CPU = torch.device("cpu")


def potential(dtype=torch.float64, **switches):
    torch.manual_seed(0)
    return Conservative(checkpoint.build("nequip", TINY | switches)).to(dtype).eval()


class Pairs(Potential):
    """A pair potential that knows nothing of padding; quick."""

    def __init__(self):
        super().__init__()
        self.cutoff, self.species = 4.0, (11, 17)
        self.strength = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, graph):
        lengths = graph.vectors.norm(dim=1)
        energy = self.strength * polynomial_envelope(lengths, self.cutoff) / lengths
        return {"atom_energy": scatter_sum(energy, graph.center, len(graph.species))}


def record(function):
    """What `cuda_graphs` does, without a GPU."""
    result = function().clone()
    return lambda: result.copy_(function()), result


def recorded(model, skin=0.5, recorder=record):
    """A calculator that replays steps, as on a GPU."""
    calculator = MatkitCalculator(model, device="cpu", skin=skin)
    members = calculator.potentials
    calculator._replay = Replay(members, calculator.neighbors, CPU, recorder)
    return calculator


def test_buckets_are_few_and_not_much_too_large():
    sizes = {n: bucket(n) for n in range(1, 20_000)}
    assert all(n <= size <= max(SMALLEST, n * (1 + 1 / PER_DOUBLING)) for n, size in sizes.items())
    assert len(set(sizes.values())) <= 1 + PER_DOUBLING * 9
    assert [bucket(n) for n in (0, 64, 65, 1000, 1025)] == [64, 64, 72, 1024, 1152]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_padded_graph_has_the_rows_of_the_graph(system):
    graph = radius_graph(from_ase(SYSTEMS[system]()), 4.0)
    padded, n = pad(graph), len(graph.center)
    assert len(padded.center) == bucket(n)
    assert torch.equal(padded.pointers, graph.pointers)
    assert torch.equal(padded.transpose[0][:n], graph.transpose[0])
    assert torch.equal(padded.transpose[1], graph.transpose[1])
    assert torch.equal(padded.vectors[:n], graph.vectors)
    assert (padded.vectors[n:].norm(dim=1) > graph.cutoff).all()
    assert (padded.center.diff() >= 0).all()
    assert torch.equal(padded.replace(positions=2 * graph.positions).real, padded.real)


@pytest.mark.parametrize("analytic", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("switches", [{}, SEVENNET], ids=["nequip", "sevennet"])
def test_padding_and_candidates_change_nothing(switches, dtype, analytic):
    model = potential(dtype, **switches)
    model.analytic = analytic
    for make in SYSTEMS.values():
        structures = from_ase(make())
        expected = model(model.featurize(structures))
        found = model(pad(radius_graph(structures, model.cutoff + 0.7)))
        for key, right in expected.items():
            bound = 1e-12 if dtype == torch.float64 else 1e-5
            assert torch.allclose(found[key], right, rtol=bound, atol=bound, equal_nan=True), key


def test_derivatives_of_padding_are_not_nan():
    graph = pad(radius_graph(from_ase(water()), 4.0))
    positions = graph.positions.clone().requires_grad_()
    graph.replace(positions=positions).vectors.norm(dim=1).sum().backward()
    assert positions.grad.isfinite().all()


def jiggle(atoms, steps, size, seed=0):
    """Positions of a walk that stays near where it began."""
    rng, home = np.random.default_rng(seed), atoms.positions.copy()
    for _ in range(steps):
        atoms.positions = home + rng.normal(scale=size, size=home.shape)
        yield atoms


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("system", ["molecule", "crystal", "slab"])
def test_replayed_steps_are_ordinary_ones(system, dtype):
    model = potential(dtype)
    replayed, ordinary = recorded(model), MatkitCalculator(model, device="cpu")
    for atoms in jiggle(SYSTEMS[system](), 12, 0.06):
        atoms.calc = ordinary
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        stress = atoms.get_stress() if system != "molecule" else 0.0
        atoms.calc = replayed
        bound = 1e-10 if dtype == torch.float64 else 1e-5
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=10 * bound)
        assert atoms.get_forces() == pytest.approx(forces, abs=bound)
        if system != "molecule":
            assert atoms.get_stress() == pytest.approx(stress, abs=bound)
    assert replayed._replay.works
    assert len(replayed._replay.recordings) >= 1


def alive():
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


@pytest.mark.parametrize("steps", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_steps_need_few_recordings_and_no_more_memory(steps):
    made, tensors = [], []

    def counting(function):
        made.append(1)
        return record(function)

    model, neighbors = Conservative(Pairs()).eval(), VerletList(4.0, 0.1)
    replay = Replay([model], neighbors, CPU, counting)
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat((2, 2, 1))
    start, lengths = from_ase(atoms), set()
    for step, moved in enumerate(jiggle(atoms, steps, 0.15)):
        structures = start.replace(positions=torch.from_numpy(moved.positions.copy()))
        (found,) = replay(structures)
        lengths.add(len(replay._loaded[0].center))
        if step in (steps // 2, steps - 1):
            tensors.append((alive(), len(made)))
    assert neighbors.searches > steps / 2
    assert len(lengths) > 10
    (half, before), (all_of_it, after) = tensors
    assert all_of_it - half <= 40 * (after - before)  # what new recordings hold, no more
    assert len(made) == len({bucket(n) for n in lengths}) <= 4
    expected = model(radius_graph(structures, 4.0))
    assert torch.allclose(found["forces"], expected["forces"], rtol=0, atol=1e-12)


def test_recordings_are_forgotten_when_there_are_too_many():
    calculator = recorded(potential(torch.float32, irreps=["4x0e", "4x0e"]))
    for n in range(2, RECORDINGS + 5):
        atoms = Atoms(f"O{n}", [[1.5 * i, 0, 0] for i in range(n)], calculator=calculator)
        atoms.get_potential_energy()
    assert len(calculator._replay.recordings) == RECORDINGS


def test_cell_elements_and_weights_that_change_are_noticed():
    model = potential()
    replayed, ordinary = recorded(model), MatkitCalculator(model, device="cpu")
    atoms = crystal()

    def same():
        atoms.calc = ordinary
        right = atoms.get_forces()
        atoms.calc = replayed
        return atoms.get_forces() == pytest.approx(right, abs=1e-10)

    assert same()
    atoms.set_cell(atoms.cell * 1.01, scale_atoms=True)
    assert same()
    atoms.numbers[:2] = atoms.numbers[1::-1]
    assert same()
    with torch.no_grad():
        model.network.interactions[0].radial.weights[0].mul_(1.1)
    for calculator in (replayed, ordinary):
        calculator.reset()
    assert same()
    assert replayed._replay.works


def test_a_committee():
    members = [potential(), potential(irreps=["8x0e", "8x0e"], cutoff=3.0)]
    replayed, ordinary = recorded(members), MatkitCalculator(members, device="cpu")
    atoms = crystal()
    for calculator in (ordinary, replayed):
        atoms.calc = calculator
        atoms.get_forces()
    assert replayed.results["energy_std"] == pytest.approx(ordinary.results["energy_std"])
    assert replayed.results["forces_std"] == pytest.approx(ordinary.results["forces_std"])
    assert replayed._replay.works


@pytest.mark.parametrize("bad", [1, 2, 3], ids=["when recorded", "in the first step", "later"])
def test_a_replayed_step_that_is_not_a_number_is_computed_again(bad):
    """As for an edge that is shorter than a table reaches, which kernels cannot evaluate."""
    calls = []

    def doubtful(function):
        replay, result = record(function)

        def run():
            calls.append(1)
            return replay() if len(calls) != bad else result.fill_(torch.nan)

        return run, result

    calculator, atoms = recorded(potential(), recorder=doubtful), crystal()
    ordinary = MatkitCalculator(calculator.potentials, device="cpu")
    for moved in jiggle(atoms, 4, 0.01):
        forces = []
        for moved.calc in (calculator, ordinary):
            forces.append(moved.get_forces())
        assert forces[0] == pytest.approx(forces[1], abs=1e-12)
    assert calculator._replay.works
    assert len(calculator._replay.recordings) == 1


def test_wrong_recordings_are_not_used(caplog):
    def wrong(function):
        replay, result = record(function)
        return lambda: replay().mul_(1.01), result

    calculator = recorded(potential(), recorder=wrong)
    atoms = crystal()
    atoms.calc = calculator
    with caplog.at_level(logging.WARNING):
        forces = atoms.get_forces()
    assert "is not that of an ordinary evaluation" in caplog.text
    atoms.calc = MatkitCalculator(calculator.potentials, device="cpu")
    assert forces == pytest.approx(atoms.get_forces(), abs=1e-12)


def test_what_cannot_be_recorded_is_computed_step_by_step(caplog):
    def failing(function):
        raise ValueError("operation not permitted")

    calculator = recorded(potential(), recorder=failing)
    with caplog.at_level(logging.WARNING):
        for atoms in jiggle(crystal(), 3, 0.05):
            atoms.calc = calculator
            assert np.isfinite(atoms.get_forces()).all()
    assert caplog.text.count("not recorded as CUDA graphs") == 1
    assert "operation not permitted" in caplog.text


@pytest.mark.parametrize("atoms", [Atoms("O"), Atoms("O2", [[0, 0, 0], [20, 0, 0]])], ids=str)
def test_structures_without_edges(atoms):
    model = potential()
    atoms = copy.deepcopy(atoms)
    atoms.calc = recorded(model)
    expected = model(model.featurize(from_ase(atoms)))["energy"]
    assert atoms.get_potential_energy() == pytest.approx(float(expected))
    assert not atoms.get_forces().any()


def test_coinciding_atoms_are_still_refused():
    atoms = Atoms("O2", [[0, 0, 0], [1.2, 0, 0]], calculator=recorded(potential()))
    atoms.get_forces()
    atoms.positions[1] = [1e-9, 0, 0]
    with pytest.raises(ValueError, match="same"):
        atoms.get_forces()
    assert atoms.calc._replay.works


def test_batches_are_replayed():
    model = Pairs()
    calc = MatkitCalculator(model, device="cpu", dtype="float64")
    batch = cat([from_ase(crystal()), from_ase(crystal() * (2, 1, 1))])
    forces = BatchForces(calc, BatchLimit("auto", CPU, model.cutoff))
    expected = forces(batch)
    forces._replay = Replay(calc.potentials, forces.neighbors, CPU, record)
    for _ in range(3):
        found = forces(batch)
        for name in ("energy", "forces", "stress"):
            assert torch.allclose(getattr(found, name), getattr(expected, name), atol=1e-12)
    assert len(forces._replay.recordings) == 1
    batch = batch.replace(positions=batch.positions + 0.01 * torch.randn_like(batch.positions))
    ordinary = BatchForces(calc, BatchLimit("auto", CPU, model.cutoff))(batch)
    assert torch.allclose(forces(batch).forces, ordinary.forces, atol=1e-12)
    assert not torch.allclose(ordinary.forces, expected.forces)
