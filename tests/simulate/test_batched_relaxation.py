"""Relaxation in batches: the same steps and results as one by one."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian

from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.errors import ConfigError
from matkit.simulate import RelaxOptions, relax, relax_many, singlepoint, singlepoint_many
from matkit.simulate.batched import forces as batched_forces
from matkit.simulate.batched.forces import BatchForces
from matkit.simulate.batched.limits import BatchLimit
from matkit.simulate.batched.relax_state import evaluated, init, kept, step
from tests.simulate.calculators import Springs
from tests.simulate.morse import Morse

OPTIMIZERS = ["FIRE", "LBFGS", "BFGS"]


def calculator(**changes):
    return MatkitCalculator(Morse(), device="cpu", dtype="float64", **changes)


def crystals(number=4):
    """Distorted crystals of one to eight atoms."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(number):
        atoms = bulk("Cu", a=3.6 + 0.03 * i, cubic=i % 2 == 0) * ((1, 1, 1) if i % 3 else (1, 1, 2))
        strain = np.eye(3) + rng.normal(scale=0.02, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        found.append(atoms)
    return found


def slab():
    atoms = bulk("Cu", a=3.6, cubic=True) * (1, 1, 2)
    atoms.rattle(0.05, seed=1)
    atoms.center(vacuum=8, axis=2)
    atoms.pbc = (True, True, False)
    return atoms


def assert_as_one_by_one(structures, calc=None, **options):
    calc = calc or calculator()
    options = {"fmax": 0.03, "smax": 5e-4} | options
    together = relax_many(structures, calc, **options)
    for atoms, one in zip(structures, together, strict=True):
        alone = relax(atoms, calculator(), **options)
        assert (one.reason, one.steps) == (alone.reason, alone.steps)
        assert one.energy == pytest.approx(alone.energy, abs=1e-9)
        assert one.initial_energy == pytest.approx(alone.initial_energy, abs=1e-9)
        assert one.max_force == pytest.approx(alone.max_force, abs=1e-7)
        assert one.max_stress == (alone.max_stress and pytest.approx(alone.max_stress, abs=1e-8))
        assert one.atoms.positions == pytest.approx(alone.atoms.positions, abs=1e-7)
        assert one.atoms.cell.array == pytest.approx(alone.atoms.cell.array, abs=1e-7)
        assert one.atoms.calc.results.keys() == alone.atoms.calc.results.keys()
        assert one.atoms.get_forces() == pytest.approx(alone.atoms.get_forces(), abs=1e-7)
    return together


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_positions_take_the_steps_of_ase(optimizer):
    results = assert_as_one_by_one(crystals(), optimizer=optimizer)
    assert all(result.converged for result in results)
    assert len({result.steps for result in results}) > 2


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_cells_take_the_steps_of_ase(optimizer):
    results = assert_as_one_by_one(crystals(), optimizer=optimizer, relax_cell=True)
    assert all(result.converged for result in results)


@pytest.mark.parametrize(
    "options",
    [
        {"cell_mode": "hydrostatic"},
        {"cell_mode": "constant-volume"},
        {"cell_mode": "shape"},
        {"pressure": 0.05},
        {"cell_mode": "hydrostatic", "pressure": 0.05},
        {"steps": 0},
        {"steps": 5},
    ],
    ids=str,
)
def test_all_modes_of_the_cell(options):
    assert_as_one_by_one(crystals(4), optimizer="LBFGS", relax_cell=True, **options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_slab_relaxes_its_periodic_vectors_only(optimizer):
    atoms = slab()
    results = assert_as_one_by_one([atoms, *crystals(2)], optimizer=optimizer, relax_cell=True)
    assert results[0].atoms.cell[2] == pytest.approx(atoms.cell[2])


@pytest.mark.parametrize("relax_cell", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fixed_atoms_stay(optimizer, relax_cell):
    structures = [atoms for atoms in crystals() if len(atoms) > 1]
    for atoms in structures:
        atoms.set_constraint(FixAtoms([0]))
    results = assert_as_one_by_one(structures, optimizer=optimizer, relax_cell=relax_cell)
    assert all(result.atoms.constraints for result in results)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_symmetry_is_kept(optimizer):
    structures = []
    for i, scale in enumerate((0.95, 1.05, 1.02)):
        atoms = bulk("Cu", cubic=True) * (1, 1, 1 + i)
        atoms.set_cell(atoms.cell.array * [scale, scale, 1.03], scale_atoms=True)
        structures.append(atoms)
    options = {"fix_symmetry": True, "relax_cell": True}
    assert_as_one_by_one(structures, optimizer=optimizer, **options)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_places_are_filled_again(batch_size):
    structures = crystals(7)
    calc = calculator()
    everything = relax_many(structures, calc, optimizer="LBFGS", relax_cell=True)
    in_turn = relax_many(
        structures, calc, optimizer="LBFGS", relax_cell=True, batch_size=batch_size
    )
    assert [r.steps for r in in_turn] == [r.steps for r in everything]
    assert [r.energy for r in in_turn] == pytest.approx([r.energy for r in everything], abs=1e-9)


def test_a_batch_that_nobody_leaves_is_not_put_together_again(monkeypatch):
    left = []

    def noted(state, which):
        left.append(which)
        return kept(state, which)

    monkeypatch.setattr("matkit.simulate.batched.engine.kept", noted)
    several = [atoms for atoms in crystals(4) if len(atoms) > 1]
    results = relax_many(several, calculator(), steps=5, fmax=1e-9)
    assert len(several) > 1
    assert {result.steps for result in results} == {5}
    assert left == []


def committee():
    return MatkitCalculator([Morse(), Morse(depth=0.5)], device="cpu", dtype="float64")


def assert_same_deviations(one, alone):
    assert one.atoms.info["energy_std"] == pytest.approx(alone.atoms.info["energy_std"])
    found, expected = (r.atoms.arrays["forces_std"] for r in (one, alone))
    assert found == pytest.approx(expected, abs=1e-7)
    assert ("stress_std" in one.atoms.info) == ("stress_std" in alone.atoms.info)


def test_a_committee_relaxes_by_its_mean():
    together = relax_many(crystals(3), committee(), optimizer="LBFGS")
    alone = [relax(atoms, committee(), optimizer="LBFGS") for atoms in crystals(3)]
    assert [r.energy for r in together] == pytest.approx([r.energy for r in alone], abs=1e-9)
    for one, two in zip(together, alone, strict=True):
        assert_same_deviations(one, two)


def test_single_points_of_a_committee_hold_its_deviations():
    structures = [*crystals(2), Atoms("Cu2", [[0, 0, 0], [2.5, 0, 0]]), bulk("Au")]
    together = singlepoint_many(structures, committee())
    assert together[3].reason == "error"
    for atoms, one in zip(structures[:3], together, strict=False):
        assert_same_deviations(one, singlepoint(atoms, committee()))


def broken():
    unknown = bulk("Au")
    flat = Atoms("Cu", cell=[1, 1, 0], pbc=True)
    same_place = Atoms("Cu2", positions=np.zeros((2, 3)), cell=np.eye(3) * 5, pbc=True)
    crushed = Atoms("Cu", cell=np.eye(3) * 0.1, pbc=True)
    return {
        "does not know Au": unknown,
        "do not span a volume": flat,
        "at the same place": same_place,
        "collapsed": crushed,
        "Expected a structure": "Cu",
        "empty structure": Atoms(cell=np.eye(3), pbc=True),
    }


def test_broken_structures_cost_only_themselves():
    good, bad = crystals(6), broken()
    mixed = [one for pair in zip(good, bad.values(), strict=True) for one in pair]
    results = relax_many(mixed, calculator(), relax_cell=True, optimizer="LBFGS")
    expected = relax_many(good, calculator(), relax_cell=True, optimizer="LBFGS")
    assert [r.reason for r in results[::2]] == ["converged"] * 6
    assert [r.energy for r in results[::2]] == pytest.approx([r.energy for r in expected])
    for result, reason in zip(results[1::2], bad, strict=True):
        assert result.reason == "error"
        assert reason in result.message
        assert not result.converged


def test_a_structure_that_explodes_keeps_its_last_good_frame():
    atoms = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 1e-3]], cell=np.eye(3) * 9, pbc=True)
    steep = MatkitCalculator(Morse(width=300.0), device="cpu", dtype="float64")
    broken_one, good = relax_many([atoms, bulk("Cu")], steep, optimizer="BFGS")
    assert broken_one.reason in ("nan", "error", "implausible", "max_steps")
    assert np.isfinite(broken_one.atoms.positions).all()
    assert good.converged


def test_what_batches_do_not_know_is_relaxed_alone():
    bent = crystals(2)
    for atoms in bent:
        atoms.set_constraint(FixCartesian([0]))
    assert_as_one_by_one([*bent, *crystals(2)])
    foreign = relax_many(crystals(2), EMT(), fmax=0.05)
    assert [r.converged for r in foreign] == [True, True]
    rfo = relax_many(crystals(2), calculator(), optimizer="RFO")
    assert all(r.converged for r in rfo)


def test_a_calculator_of_others_that_fails_costs_one_structure():
    results = relax_many(crystals(3), Springs(fail_at=1, failure="error"))
    assert results[0].reason == "error"
    assert len(results) == 3


def test_results_come_as_they_end_and_are_returned_in_order():
    came = []
    structures = crystals(5)
    results = relax_many(
        structures, calculator(), optimizer="LBFGS", on_result=lambda i, r: came.append((i, r))
    )
    assert sorted(i for i, _ in came) == list(range(5))
    assert all(results[i] is result for i, result in came)
    steps = [result.steps for _, result in came]
    assert steps == sorted(steps)


def test_ctrl_c_keeps_the_frames_that_are_under_way():
    def stop(_number, result):
        if result.converged:
            raise KeyboardInterrupt

    results = relax_many(crystals(6), calculator(), optimizer="LBFGS", batch_size=3, on_result=stop)
    reasons = [result.reason for result in results]
    assert reasons.count("converged") == 1
    assert reasons.count("interrupted") == 5
    under_way = [r for r in results if r.reason == "interrupted" and r.steps]
    assert under_way
    assert all(np.isfinite(result.energy) for result in under_way)
    assert [r.message for r in results if r.reason == "interrupted" and not r.steps] == [
        "not started"
    ] * 3


def test_ctrl_c_in_the_middle_of_a_step():
    class Interrupted(Morse):
        calls = 0

        def forward(self, graph):
            Interrupted.calls += 1
            if Interrupted.calls == 30:
                raise KeyboardInterrupt
            return super().forward(graph)

    calc = MatkitCalculator(Interrupted(), device="cpu", dtype="float64")
    Interrupted.calls = 25  # whatever the checks of a new calculator took
    structures = [atoms for atoms in crystals(6) if len(atoms) > 1]
    results = relax_many(structures, calc)
    assert [r.reason for r in results] == ["interrupted"] * 4
    assert all(r.energy < r.initial_energy for r in results)


def test_memory_that_does_not_suffice_makes_batches_smaller():
    class Small(Morse):
        largest = 0

        def forward(self, graph):
            if len(graph) > 2:
                raise torch.OutOfMemoryError("out of memory")
            Small.largest = max(Small.largest, len(graph))
            return super().forward(graph)

    calc = MatkitCalculator(Small(), device="cpu", dtype="float64")
    results = relax_many(crystals(6), calc, optimizer="LBFGS")
    expected = relax_many(crystals(6), calculator(), optimizer="LBFGS")
    assert [r.steps for r in results] == [r.steps for r in expected]
    assert Small.largest == 2


def test_memory_that_does_not_suffice_for_one_structure_is_said():
    class Tiny(Morse):
        def forward(self, graph):
            if len(graph.species) > 4:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return super().forward(graph)

    calc = MatkitCalculator(Tiny(), device="cpu", dtype="float64")
    large, small = relax_many([bulk("Cu") * (2, 2, 2), bulk("Cu")], calc)
    assert large.reason == "error"
    assert "memory does not suffice for this one structure of 8 atoms" in large.message
    assert small.converged


def test_charged_and_neutral_structures_share_a_batch():
    charged, neutral = crystals(2)
    charged.info["charge"] = 1
    calc = calculator(ignore_charge=True)
    assert all(r.converged for r in relax_many([charged, neutral], calc))
    refused, fine = relax_many([charged, neutral], calculator())
    assert "charge 1" in refused.message
    assert fine.converged


@pytest.mark.parametrize("size", [0, -1])
def test_impossible_batch_sizes_are_refused(size):
    with pytest.raises(ConfigError, match="batch_size"):
        relax_many(crystals(2), calculator(), batch_size=size)


def test_the_limit_counts_edges():
    limit = BatchLimit("auto", torch.device("cpu"), 5.0)
    structures = calculator().structures(bulk("Cu", a=3.6) * (2, 2, 2))
    found = len(Morse().featurize(structures).center)
    own = BatchLimit("auto", torch.device("cpu"), Morse().cutoff)
    assert own.expected_edges(structures) == pytest.approx(found, rel=0.3)
    assert limit.admits(1, 1e12)
    assert not limit.admits(2, 1e12)
    limit.shrink()
    assert limit.admits(2, limit.edges)


def test_the_input_is_not_changed():
    structures = crystals(2)
    copies = [atoms.copy() for atoms in structures]
    relax_many(structures, calculator(), relax_cell=True, fix_symmetry=True)
    assert structures == copies


def test_a_collapsed_cell_is_found_before_its_neighbours_are_counted():
    structures = calculator().structures(Atoms("Cu", cell=np.eye(3) * 0.1, pbc=True))
    assert "collapsed" in batched_forces._impossible(structures)[0]


def test_single_points_together_are_those_one_by_one():
    structures = [*crystals(3), slab(), Atoms("Cu2", [[0, 0, 0], [2.5, 0, 0]])]
    together = singlepoint_many(structures, calculator())
    for atoms, one in zip(structures, together, strict=True):
        alone = singlepoint(atoms, calculator())
        assert one.energy == pytest.approx(alone.energy, abs=1e-10)
        assert one.forces == pytest.approx(alone.forces, abs=1e-10)
        assert (one.stress is None) == (alone.stress is None)
        if alone.stress is not None:
            assert one.stress == pytest.approx(alone.stress, abs=1e-10)
        assert (one.reason, one.max_force) == ("done", pytest.approx(alone.max_force, abs=1e-10))
    assert singlepoint_many(structures, calculator(), stress=False)[0].stress is None


def test_broken_structures_have_no_single_point():
    bad = broken()
    results = singlepoint_many([*bad.values(), bulk("Cu")], calculator(), batch_size=3)
    assert [r.reason for r in results] == ["error"] * len(bad) + ["done"]
    assert all(text in r.message for text, r in zip(bad, results, strict=False))


def test_single_points_with_a_calculator_of_others():
    results = singlepoint_many([bulk("Cu"), bulk("Au")], EMT())
    assert [r.reason for r in results] == ["done", "done"]


def test_steps_of_a_loop_of_ones_own_are_those_of_relax():
    calc, options = calculator(), RelaxOptions(relax_cell=True, optimizer="BFGS")
    forces = BatchForces(calc, BatchLimit("auto", calc.device, calc.neighbors.cutoff))
    state = init(from_ase(crystals()), options)
    state = evaluated(state, forces(state), options)
    for _ in range(5):
        state = step(state, forces, options)
    alone = [relax(atoms, calculator(), options, steps=5, fmax=1e-9) for atoms in crystals()]
    assert state.energy.tolist() == pytest.approx([r.energy for r in alone], abs=1e-9)
