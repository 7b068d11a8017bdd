"""Phonons from predicted force constants: exact at every wave vector, without a supercell's."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.errors import ConfigError, SimulationError
from matkit.hessians.calculators import hessian
from matkit.hessians.potentials import predicted_blocks
from matkit.models import checkpoint
from matkit.phonons import PhononsOptions, phonons
from matkit.phonons.predicted import fold, predicted_force_constants, with_reach
from matkit.phonons.supercell import make_phonopy, to_ase
from tests.hessians.test_potentials import known
from tests.phonons.lattice import argon, morse
from tests.potentials.test_hip import TINY

QUICK = {"method": "predict", "relax": False, "band_points": 3, "mesh": 10.0, "min_length": 1.0}
QPOINTS = np.random.default_rng(0).random((5, 3)) * 4 - 2


def hip(seed: int = 0, **changes) -> Conservative:
    """A network with random weights for argon, neon and sodium chloride."""
    torch.manual_seed(seed)
    backbone = TINY["backbone"] | {"cutoff": 4.0}
    species = {"species": [10, 11, 17, 18], "hessian_cutoff": 4.5, "backbone": backbone}
    return Conservative(checkpoint.build("hip", TINY | species | changes).double()).eval()


def predictor(*members: Conservative) -> MatkitCalculator:
    return MatkitCalculator(list(members) or hip(), device="cpu")


def skewed() -> Atoms:
    """A triclinic cell without symmetry and with one atom outside."""
    places = [[0.1, 0.2, -0.3], [2.1, 0.2, 2.9], [8.4, 1.6, 0.2]]
    cell = [[4.3, 0.2, 0.1], [1.4, 4.1, -0.3], [-0.6, 0.9, 5.2]]
    return Atoms("NaClAr", places, cell=cell, pbc=True)


CRYSTALS = {
    "one atom": argon,
    "two atoms": lambda: bulk("NaCl", "rocksalt", a=5.6),
    "cubic cell of a smaller crystal": lambda: bulk("NaCl", "rocksalt", a=5.6, cubic=True),
    "skewed": skewed,
}


def laid_out(atoms: Atoms, calc: MatkitCalculator):
    """Phonopy's cells for a prediction, without force constants."""
    return make_phonopy(atoms, with_reach(PhononsOptions(**QUICK), calc))


def dynamical(phonopy) -> np.ndarray:
    """Dynamical matrices [Q, 3P, 3P] in eV/(Å² amu) by phonopy."""
    return phonopy.run_qpoints(QPOINTS, with_dynamical_matrices=True).dynamical_matrices


def fourier(phonopy, calc: MatkitCalculator) -> np.ndarray:
    """The same by the sum over images, with the phases of atoms that phonopy has in it."""
    cell = phonopy.primitive
    structures = from_ase(to_ase(cell))
    blocks = predicted_blocks(calc.potentials[0], calc.potentials[0].featurize(structures))
    roots = np.repeat(np.sqrt(cell.masses), 3)
    found = []
    for q in QPOINTS:
        phases = np.repeat(np.exp(2j * np.pi * cell.scaled_positions @ q), 3) / roots
        found.append(phases.conj()[:, None] * blocks.bloch(torch.tensor(q)).numpy() * phases)
    return np.array(found)


@pytest.mark.parametrize("make", CRYSTALS.values(), ids=CRYSTALS)
def test_every_wave_vector_has_its_fourier_sum(make):
    calc = predictor()
    phonopy = laid_out(make(), calc)
    phonopy.force_constants = predicted_force_constants(phonopy, calc)
    expected = fourier(phonopy, calc)
    assert np.abs(expected).max() > 1e-3
    assert dynamical(phonopy) == pytest.approx(expected, abs=1e-10)


def test_a_smaller_supercell_would_not_do():
    """Two images of one atom at different distances become one: why `with_reach` is needed."""
    calc = predictor()
    phonopy = make_phonopy(skewed(), PhononsOptions(**QUICK | {"min_length": 4.0}))
    phonopy.force_constants = predicted_force_constants(phonopy, calc)
    assert np.abs(dynamical(phonopy) - fourier(phonopy, calc)).max() > 1e-3


@pytest.mark.parametrize("make", CRYSTALS.values(), ids=CRYSTALS)
def test_a_supercell_has_the_same_hessian(make):
    """The sum rule included, which the Hessian of a supercell fulfils by itself."""
    calc = predictor()
    result = phonons(make(), calc, **QUICK)
    large = to_ase(result.phonopy.supercell)
    whole = hessian(large, calc, "predict").reshape(len(large), 3, len(large), 3)
    expected = whole.transpose(0, 2, 1, 3)[result.phonopy.primitive.p2s_map]
    assert result.phonopy.force_constants == pytest.approx(expected, abs=1e-10)
    assert result.drift > 1e-3
    assert np.abs(result.phonopy.force_constants.sum(axis=1)).max() < 1e-10


def test_where_the_sum_rule_holds_nothing_is_changed():
    calc = predictor(hip(sum_rule="diagonal"))
    result = phonons(CRYSTALS["two atoms"](), calc, **QUICK)
    assert result.drift < 1e-10
    assert dynamical(result.phonopy) == pytest.approx(fourier(result.phonopy, calc), abs=1e-10)


def test_springs_have_the_phonons_of_their_second_derivatives():
    """A stretched, skewed crystal whose blocks are known, against autograd in a supercell."""
    cell = [[2.2, 0.1, 0.0], [0.5, 2.4, -0.2], [0.1, -0.3, 2.6]]
    atoms = Atoms("CO", [[0, 0, 0], [1.2, 0.3, 0.1]], cell=cell, pbc=True)
    settings = QUICK | {"min_length": 6.0}
    predicted, exact = (
        phonons(atoms, known(), **settings | {"method": method})
        for method in ("predict", "autograd")
    )
    assert predicted.supercell == exact.supercell
    assert dynamical(predicted.phonopy) == pytest.approx(dynamical(exact.phonopy), abs=1e-8)


def test_the_network_sees_the_primitive_cell_alone(monkeypatch):
    calc, seen = predictor(), []
    original = type(calc.potentials[0].network).hessian_blocks

    def watched(network, graph):
        seen.append(len(graph.species))
        return original(network, graph)

    monkeypatch.setattr(type(calc.potentials[0].network), "hessian_blocks", watched)
    result = phonons(CRYSTALS["cubic cell of a smaller crystal"](), calc, **QUICK)
    assert (seen, len(result.phonopy.supercell)) == ([2], 64)


def test_the_supercell_is_as_long_as_twice_the_longest_pair():
    near, far = hip(hessian_cutoff=3.0), hip(hessian_cutoff=4.0)
    options = PhononsOptions(method="predict", min_length=7.0)
    assert with_reach(options, predictor(near)).min_length == 7.0
    assert with_reach(options, predictor(near, far)).min_length == 8.0
    by_forces = PhononsOptions(min_length=7.0)
    assert with_reach(by_forces, predictor(far)) == by_forces


def test_a_committee_gives_the_mean():
    members = hip(0), hip(1, hessian_cutoff=4.0)
    phonopy = laid_out(skewed(), predictor(*members))
    alone = [predicted_force_constants(phonopy, predictor(member)) for member in members]
    together = predicted_force_constants(phonopy, predictor(*members))
    assert together == pytest.approx((alone[0] + alone[1]) / 2, abs=1e-12)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3


def test_blocks_folded_into_their_own_cell_are_the_matrix():
    phonopy = make_phonopy(skewed(), PhononsOptions(**QUICK))
    potential = hip()
    cell = from_ase(to_ase(phonopy.primitive))
    blocks = predicted_blocks(potential, potential.featurize(cell))
    (matrix,) = blocks.dense()
    found = fold(blocks, phonopy).transpose(0, 2, 1, 3).reshape(9, 9)
    assert found == pytest.approx(matrix.numpy(), abs=1e-12)


def test_calculators_that_predict_nothing():
    with pytest.raises(ConfigError, match="This model predicts no Hessians"):
        phonons(argon(), morse(), method="predict")
    with pytest.raises(ConfigError, match="EMT has no Hessian by method 'predict'"):
        phonons(bulk("Cu"), EMT(), method="predict")


def test_predictions_that_are_not_numbers():
    potential = hip()
    potential.network.head.scale = float("nan")
    with pytest.raises(SimulationError, match="and force constants, got NaN"):
        phonons(argon(), predictor(potential), **QUICK)
