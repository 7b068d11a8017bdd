"""Energies, forces and stress equal to those of the package `sevenn`, whose weights these are."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule

import matkit

calculator = pytest.importorskip("sevenn.calculator", reason="the peer package is not installed")

NAMES = {"sevennet-0": "7net-0", "sevennet-l3i5": "7net-l3i5"}


def rattled(atoms: Atoms, size: float = 0.1) -> Atoms:
    atoms.rattle(size, seed=4)
    return atoms


def water_box() -> Atoms:
    """64 water molecules on a lattice, turned at random: 192 atoms at the density of water."""
    rng = np.random.default_rng(0)
    box = Atoms(cell=[12.42] * 3, pbc=True)
    for index in np.ndindex(4, 4, 4):
        one = molecule("H2O")
        one.rotate(float(rng.uniform(0, 360)), rng.normal(size=3))
        one.translate(3.105 * (np.array(index) + 0.5) + rng.normal(scale=0.1, size=3))
        box += one
    return box


def oxygen_on_copper() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    add_adsorbate(atoms, "O", 1.2, "fcc")
    atoms.pbc = (True, True, False)
    return rattled(atoms, 0.05)


def five_components() -> Atoms:
    atoms = bulk("Cu", cubic=True).repeat((2, 2, 1))
    atoms.numbers[:] = [29, 28, 27, 26, 24, 28, 29, 26, 27, 24, 24, 26, 28, 29, 27, 26]
    return rattled(atoms)


STRUCTURES = {
    "silicon": lambda: rattled(bulk("Si", cubic=True)),
    "rock salt": lambda: rattled(bulk("NaCl", "rocksalt", a=5.64, cubic=True)),
    "slab": oxygen_on_copper,
    "molecule": lambda: rattled(molecule("CH3CH2OH"), 0.05),
    "water": water_box,
    "one atom": lambda: bulk("Cu"),
    "five components": five_components,
}


@pytest.fixture(
    scope="module",
    params=["sevennet-0", pytest.param("sevennet-l3i5", marks=pytest.mark.slow)],
)
def pair(request):
    theirs = calculator.SevenNetCalculator(NAMES[request.param], device="cpu")
    return matkit.load_calculator(request.param, device="cpu", dtype="float64"), theirs


@pytest.mark.parametrize("name", STRUCTURES)
def test_parity(pair, name):
    ours, theirs = pair
    atoms = STRUCTURES[name]()
    results = []
    for calc in (ours, theirs):
        atoms.calc = calc
        stress = atoms.get_stress() if atoms.pbc.all() else np.zeros(6)
        results.append((atoms.get_potential_energy() / len(atoms), atoms.get_forces(), stress))
    (energy, forces, stress), (their_energy, their_forces, their_stress) = results
    assert abs(energy - their_energy) < 1e-5
    assert np.abs(forces - their_forces).max() < 1e-4
    assert np.abs(stress - their_stress).max() < 1e-5
