import numpy as np
import torch
from ase.cell import Cell
from ase.stress import full_3x3_to_voigt_6_stress

from matkit.elements import SYMBOLS, atomic_number
from matkit.geometry import complete_cell, heights, to_voigt
from matkit.units import BOLTZMANN, GPA


def test_completed_cells_keep_given_vectors_and_have_ases_volume():
    cells = [np.zeros((3, 3)), np.diag([3.0, 0, 0]), np.array([[0, 0, 0], [0, 2, 1], [1, 0, 2.0]])]
    cells += [np.array([[1.0, 2, 0], [0, 0, 0], [0, 0, 0]]), np.diag([2.0, 3, 4])]
    cell = torch.tensor(np.array(cells))
    full = complete_cell(cell)
    given = (cell != 0).any(-1)
    assert torch.equal(full[given], cell[given])
    for ours, original in zip(full, cells, strict=True):
        expected = abs(Cell(original).complete().volume)
        assert abs(abs(float(torch.linalg.det(ours))) - expected) < 1e-12


def test_heights_are_distances_between_faces():
    cell = torch.tensor([[[2.0, 0, 0], [1.0, 3.0, 0], [0.5, 0.5, 4.0]]], dtype=torch.float64)
    a, b, c = cell[0]
    volume = torch.linalg.det(cell)[0]
    faces = torch.stack([torch.linalg.cross(*pair).norm() for pair in ((b, c), (c, a), (a, b))])
    assert torch.allclose(heights(cell)[0], volume / faces)


def test_voigt_order_is_ases():
    matrix = torch.randn(3, 3, dtype=torch.float64)
    matrix = matrix + matrix.T
    expected = full_3x3_to_voigt_6_stress(matrix.numpy())
    assert np.allclose(to_voigt(matrix).numpy(), expected)


def test_units_and_symbols_are_ases():
    from ase import units
    from ase.data import chemical_symbols

    # ASE's default constants are CODATA 2014.
    assert abs(GPA / units.GPa - 1) < 1e-7
    assert abs(BOLTZMANN / units.kB - 1) < 1e-6
    assert list(SYMBOLS) == chemical_symbols
    assert atomic_number("Fe") == 26
