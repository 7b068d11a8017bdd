"""Phonons of SevenNet-0 equal to phonopy's with the calculator of the package `sevenn`."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from phonopy import Phonopy

import matkit
from matkit.phonons import phonons

peer = pytest.importorskip("sevenn.calculator", reason="the peer package is not installed")

CRYSTALS = {
    "Si": bulk("Si"),
    "NaCl": bulk("NaCl", "rocksalt", a=5.64),
    "MgO": bulk("MgO", "rocksalt", a=4.21),
}


def driven_by_sevenn(result) -> Phonopy:
    """Phonopy's own route for the same cell, supercell and displacement."""
    ours = result.phonopy
    oracle = Phonopy(ours.unitcell, ours.supercell_matrix, primitive_matrix=ours.primitive_matrix)
    oracle.generate_displacements(distance=0.01)
    calc = peer.SevenNetCalculator("7net-0", device="cpu")
    forces = []
    for cell in oracle.supercells_with_displacements:
        atoms = Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True, calculator=calc)
        forces.append(atoms.get_forces())
    oracle.forces = forces
    oracle.produce_force_constants(show_drift=False)
    oracle.symmetrize_force_constants(show_drift=False)
    return oracle


@pytest.mark.slow
@pytest.mark.parametrize("name", CRYSTALS)
def test_as_phonopy_with_sevenn(name):
    calc = matkit.load_calculator("sevennet-0", dtype="float64")
    result = phonons(CRYSTALS[name], calc, min_length=9.0, mesh=20.0, band_points=21)
    qpoints = np.concatenate([segment.qpoints for segment in result.bands.segments])
    expected = driven_by_sevenn(result).run_qpoints(qpoints).frequencies
    difference = np.abs(np.concatenate(result.bands.frequencies) - expected).max()
    print(f"{name}: {result.max_frequency:.3f} THz, largest difference {difference:.1e} THz")
    assert difference < 0.02
    assert result.reason == "converged"
    assert not result.imaginary
