import io

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength
from ase.io import read
from ase.optimize import BFGS

from matkit.errors import ConfigError, StructureError
from matkit.hessians import hessian_function, positive_hessian
from matkit.hessians.calculators import difference_hessian
from matkit.simulate import relax
from matkit.simulate.optimizers import PRFO, RFO
from matkit.simulate.optimizers.trust import Trust
from tests.transition.surfaces import MINIMA, SADDLES, Quadratic, particle
from tests.vibrations.springs import ammonia, springs

DIFFERENCES = {"method": "finite-difference"}


def quadratic(distance):
    """Three atoms of which one is held, at a distance from the minimum, and the minimum."""
    a = np.random.default_rng(1).normal(size=(9, 9))
    origin = np.random.default_rng(2).normal(size=(3, 3))
    away = np.random.default_rng(3).normal(size=(3, 3))
    away[0] = 0
    atoms = Atoms("H3", origin + distance * away / np.linalg.norm(away))
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = Quadratic(a @ a.T + np.eye(9), origin)
    return atoms, origin


def test_one_step_on_a_quadratic_within_the_radius():
    atoms, origin = quadratic(0.9 * RFO.usual.radius)
    assert RFO(atoms, **DIFFERENCES).run(fmax=1e-7, steps=1)
    assert atoms.positions == pytest.approx(origin, abs=1e-7)


def test_longer_steps_are_cut():
    atoms, origin = quadratic(2.0)
    start = atoms.positions.copy()
    optimizer = RFO(atoms, **DIFFERENCES)
    optimizer.step()
    assert np.linalg.norm(atoms.positions - start) == pytest.approx(RFO.usual.radius)
    assert optimizer.run(fmax=1e-6, steps=20)
    assert optimizer.trust.radius > RFO.usual.radius
    assert atoms.positions == pytest.approx(origin, abs=1e-6)


@pytest.mark.parametrize("every", [1, 5, 1000])
@pytest.mark.parametrize(
    ("start", "minimum"), [((-0.9, 1.2), 0), ((0.0, 0.2), 1), ((0.8, 0.2), 2), ((-0.3, 1.0), 0)]
)
def test_minima(start, minimum, every):
    atoms = particle(*start)
    optimizer = RFO(atoms, every=every, **DIFFERENCES)
    assert optimizer.run(fmax=1e-4, steps=15)
    assert atoms.positions[1] == pytest.approx([*MINIMA[minimum], 0], abs=2e-3)
    assert optimizer.hessians == 1 + (optimizer.nsteps - 1) // every or every < 1000


@pytest.mark.parametrize("every", [1, 5, 1000])
@pytest.mark.parametrize(
    ("start", "saddle"), [((-0.7, 0.7), 0), ((-0.9, 0.6), 0), ((0.1, 0.4), 1), ((0.6, 0.1), 1)]
)
def test_saddle_points(start, saddle, every):
    atoms = particle(*start)
    assert PRFO(atoms, every=every, **DIFFERENCES).run(fmax=1e-4, steps=20)
    assert atoms.positions[1] == pytest.approx([*SADDLES[saddle], 0], abs=2e-3)
    values = np.linalg.eigvalsh(difference_hessian(atoms, atoms.calc, [1])[3:, 3:])
    assert (values < 0).tolist() == [True, False, False]


def test_a_direction_is_followed():
    towards = np.array([[0, 0, 0], [0.5, -0.3, 0.0]])
    atoms = particle(0.0, 0.42)
    PRFO(atoms, towards, **DIFFERENCES).run(fmax=1e-4, steps=30)
    assert atoms.positions[1] == pytest.approx([*SADDLES[1], 0], abs=2e-3)


def test_a_ridge_leads_down():
    atoms = particle(*SADDLES[1], 0.02)
    energy = atoms.get_potential_energy()
    assert RFO(atoms, **DIFFERENCES).run(fmax=1e-3, steps=20)
    assert atoms.get_potential_energy() < energy - 0.05


def test_a_step_that_raises_the_energy_is_taken_back():
    start = (0.5, 0.9)
    atoms = particle(*start)
    optimizer = RFO(atoms, trust=Trust(3.0, 0.01, 3.0), **DIFFERENCES)
    energies, distances = [], []
    for _ in range(3):
        energies.append(atoms.get_potential_energy())
        distances.append(np.linalg.norm(atoms.positions[1, :2] - start))
        optimizer.step()
    if energies[1] < energies[0]:
        pytest.fail("this start should overshoot")
    assert distances[2] < distances[1] / 2
    assert optimizer.trust.radius < 3.0
    assert optimizer.hessians == 1


def test_molecules_are_neither_shifted_nor_turned():
    atoms = ammonia()
    atoms.rattle(0.05, seed=1)
    start = atoms.copy()
    atoms.calc = springs()
    assert RFO(atoms).run(fmax=1e-5, steps=10)
    shift = atoms.positions - start.positions
    assert shift.mean(axis=0) == pytest.approx(0, abs=1e-10)
    turned = np.cross(start.positions - start.positions.mean(axis=0), shift).sum(axis=0)
    assert turned == pytest.approx(0, abs=5e-3)
    assert sorted(atoms.get_all_distances()[0, 1:]) == pytest.approx([1.01] * 3, abs=1e-4)


def test_crystals_take_fewer_steps_than_by_gradients():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    done = {
        name: relax(atoms, EMT(), optimizer=name, hessian=method, fmax=1e-3)
        for name, method in (("RFO", "finite-difference"), ("BFGS", None), ("FIRE", None))
    }
    assert {result.reason for result in done.values()} == {"converged"}
    steps = {name: result.steps for name, result in done.items()}
    assert steps["RFO"] <= 0.5 * steps["BFGS"]
    assert steps["RFO"] <= 0.5 * steps["FIRE"]


def test_an_atom_alone_stays():
    atoms = Atoms("Cu", calculator=EMT())
    for optimizer in (RFO(atoms, **DIFFERENCES), PRFO(atoms, **DIFFERENCES)):
        optimizer.step()
    assert not atoms.positions.any()


def test_logs_trajectories_and_callbacks_are_those_of_ase(tmp_path):
    atoms, log, seen = particle(-0.9, 1.2), io.StringIO(), []
    optimizer = RFO(atoms, logfile=log, trajectory=str(tmp_path / "a.traj"), **DIFFERENCES)
    optimizer.attach(lambda: seen.append(atoms.get_potential_energy()))
    optimizer.run(fmax=1e-3)
    frames = read(tmp_path / "a.traj", ":")
    assert len(frames) == len(seen) == optimizer.nsteps + 1
    assert "RFO:" in log.getvalue()
    assert [frame.get_potential_energy() for frame in frames] == pytest.approx(seen)


def test_relax_by_name_in_any_case():
    atoms = ammonia()
    atoms.rattle(0.05, seed=1)
    result = relax(atoms, springs(), optimizer="rfo", fmax=1e-4)
    slow = relax(atoms, springs(), optimizer="fire", fmax=1e-4)
    assert result.converged
    assert 2 * result.steps < slow.steps
    every = relax(atoms, springs(), optimizer="RFO", hessian_every=1, fmax=1e-4)
    assert every.steps <= result.steps


@pytest.mark.slow
def test_rattled_molecules_take_at_most_half_the_steps_of_bfgs():
    tblite = pytest.importorskip("tblite.ase")
    steps = {"RFO": [], "BFGS": [], "FIRE": []}
    for name in ("H2O", "CH3OH", "HCOOH"):
        start = molecule(name)
        start.rattle(0.1, seed=3)
        for optimizer, counts in steps.items():
            calc = tblite.TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
            exact = {"hessian": "finite-difference", "hessian_every": 1}
            options = exact if optimizer == "RFO" else {}
            result = relax(start, calc, optimizer=optimizer, **options)
            assert result.converged
            counts.append(result.steps)
    medians = {optimizer: np.median(counts) for optimizer, counts in steps.items()}
    assert 2 * medians["RFO"] <= medians["BFGS"]
    assert 4 * medians["RFO"] <= medians["FIRE"]


def test_bfgs_begins_with_a_hessian():
    atoms = ammonia()
    atoms.rattle(0.05, seed=1)
    bare = relax(atoms, springs(), optimizer="BFGS", fmax=1e-4)
    helped = relax(atoms, springs(), optimizer="BFGS", hessian="autograd", fmax=1e-4)
    assert helped.converged
    assert helped.steps < bare.steps


def test_positive_hessians():
    atoms = particle(*SADDLES[0])
    exact = np.linalg.eigvalsh(difference_hessian(atoms, atoms.calc, [1])[3:, 3:])
    found = np.linalg.eigvalsh(positive_hessian(atoms, "finite-difference", floor=0.5))
    assert exact[0] < -0.5
    assert found == pytest.approx(sorted([0.5] * 3 + np.abs(exact).tolist()), abs=1e-6)
    optimizer = BFGS(atoms, logfile=None)
    optimizer.H0 = positive_hessian(atoms, "finite-difference")
    optimizer.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "FIRE", "hessian": "autograd"}, "no effect on FIRE"),
        ({"optimizer": "BFGS", "hessian_every": 2}, "no effect on BFGS"),
        ({"optimizer": "RFO", "relax_cell": True}, "Hessians are those of positions"),
        ({"optimizer": "RFO", "fix_symmetry": True}, "Hessians are those of positions"),
        ({"optimizer": "RFO"}, "EMT has no Hessian by method 'autograd'"),
        ({"optimizer": "BFGS", "hessian": "predict"}, "EMT has no Hessian by method 'predict'"),
        ({"optimizer": "RFOO"}, "RFOO"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        relax(bulk("Cu", cubic=True), EMT(), **options)


def test_hessians_for_other_packages():
    atoms, calc = ammonia(), springs()
    found = hessian_function(calc, "finite-difference")(atoms)
    assert found == pytest.approx(calc.get_hessian(atoms), abs=1e-3)
    with pytest.raises(ConfigError, match="predicts no Hessians"):
        hessian_function(calc, "predict")


def test_sella_takes_our_hessians():
    """The guess and the energy of the saddle point are those of the search of our own."""
    package, tblite = pytest.importorskip("sella"), pytest.importorskip("tblite.ase")
    calc = tblite.TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    atoms = Atoms("HCN", [[0.7, 1.1, 0], [0, 0, 0], [1.15, 0, 0]], calculator=calc)
    ours = atoms.copy()
    ours.calc = calc
    assert PRFO(ours, **DIFFERENCES).run(fmax=0.01, steps=40)
    search = package.Sella(
        atoms,
        order=1,
        internal=True,
        hessian_function=hessian_function(calc, "finite-difference"),
        diag_every_n=1,
        logfile=None,
    )
    assert search.run(fmax=0.01, steps=40)
    assert atoms.get_potential_energy() == pytest.approx(ours.get_potential_energy(), abs=1e-3)


def test_constraints_that_are_refused():
    atoms = ammonia()
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(StructureError, match="FixAtoms"):
        relax(atoms, springs(), optimizer="RFO")
