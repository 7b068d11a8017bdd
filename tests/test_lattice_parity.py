"""Relaxed lattice parameters equal to those of the package `sevenn`, same optimiser."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.spacegroup import crystal

import matkit

calculator = pytest.importorskip("sevenn.calculator", reason="the peer package is not installed")

NAMES = {"sevennet-0": "7net-0", "sevennet-l3i5": "7net-l3i5"}


def rutile() -> Atoms:
    sites = [(0, 0, 0), (0.305, 0.305, 0)]
    return crystal(["Ti", "O"], sites, spacegroup=136, cellpar=[4.6, 4.6, 2.96, 90, 90, 90])


CRYSTALS = {
    "Si": lambda: bulk("Si", a=5.5),
    "NaCl": lambda: bulk("NaCl", "rocksalt", a=5.7),
    "MgO": lambda: bulk("MgO", "rocksalt", a=4.25),
    "Cu": lambda: bulk("Cu", a=3.65),
    "LiF": lambda: bulk("LiF", "rocksalt", a=4.05),
    "TiO2": rutile,
}


def relaxed_lengths(atoms: Atoms, calc: Calculator) -> np.ndarray:
    atoms.calc = calc
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=60)
    return atoms.cell.lengths()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("solid", CRYSTALS)
def test_lattice_parameters(name, solid):
    ours = matkit.load_calculator(name, device="cpu", dtype="float64")
    theirs = calculator.SevenNetCalculator(NAMES[name], device="cpu")
    ours_relaxed = relaxed_lengths(CRYSTALS[solid](), ours)
    theirs_relaxed = relaxed_lengths(CRYSTALS[solid](), theirs)
    print(name, solid, ours_relaxed, np.abs(ours_relaxed - theirs_relaxed).max())
    assert ours_relaxed == pytest.approx(theirs_relaxed, abs=1e-4)
