"""Orbitals in the order of PySCF and of networks, with PySCF as the oracle."""

import numpy as np
import pytest
import torch
from ase.build import molecule
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from matkit.hamiltonians.orders import from_pyscf, pyscf_order, to_pyscf
from matkit.nn.irreps import spherical_harmonics

SHELLS = {1: (0, 0, 1), 8: (0, 0, 0, 1, 1, 2)}


def turned(degree, turn):
    """The matrix by which harmonics change when what they are of is turned."""
    directions = np.random.default_rng(1).normal(size=(60, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = slice(degree**2, (degree + 1) ** 2)
    before, after = (
        spherical_harmonics(degree, torch.from_numpy(d))[:, rows].numpy()
        for d in (directions, directions @ turn.T)
    )
    return np.linalg.lstsq(before, after, rcond=None)[0].T


@pytest.mark.parametrize("degree", range(5))
def test_the_order_of_a_shell_is_orthogonal(degree):
    matrix = pyscf_order(degree)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(2 * degree + 1), atol=1e-12)


def test_networks_take_p_as_it_is_and_exchange_d():
    np.testing.assert_allclose(pyscf_order(1), np.eye(3), atol=1e-12)  # x, y, z of both
    # y is the polar axis of networks: their middle component is 2y² - x² - z².
    middle = pyscf_order(2)[2]
    np.testing.assert_allclose(np.abs(middle), [0, 0, 0.5, 0, np.sqrt(0.75)], atol=1e-12)


def test_a_matrix_comes_back():
    matrix = np.random.default_rng(0).normal(size=(24, 24))
    there = from_pyscf(matrix, [8, 1, 1], SHELLS)
    np.testing.assert_allclose(to_pyscf(there, [8, 1, 1], SHELLS), matrix, atol=1e-12)


@pytest.mark.parametrize("integral", ["int1e_ovlp", "int1e_kin"])
def test_matrices_turn_with_the_molecule_as_features_do(integral):
    pytest.importorskip("pyscf")
    from matkit.hamiltonians.pyscf import molecule_of, shells_of

    turn = Rotation.random(random_state=1).as_matrix()
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=0)
    assert shells_of(atoms.numbers.tolist(), "def2-svp") == SHELLS
    before, after = (
        from_pyscf(molecule_of(a, "def2-svp").intor(integral), a.numbers, SHELLS)
        for a in (atoms, rotated(atoms, turn))
    )
    degrees = [degree for z in atoms.numbers for degree in SHELLS[z]]
    matrix = block_diag(*(turned(degree, turn) for degree in degrees))
    np.testing.assert_allclose(after, matrix @ before @ matrix.T, atol=1e-10)
    assert abs(after - before).max() > 0.1, "the test can fail"


def rotated(atoms, turn):
    copy = atoms.copy()
    copy.positions = atoms.positions @ turn.T
    return copy
