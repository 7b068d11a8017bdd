"""Constraints hold, or it is said that they do not."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import (
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixInternals,
    FixScaled,
    FixSymmetry,
    Hookean,
)
from ase.spacegroup import crystal

from matkit.errors import StructureError
from matkit.simulate import md, relax
from matkit.simulate.constraints import Held


def rutile(*constraints) -> Atoms:
    """Six atoms: 0 and 1 copper, then four of gold that symmetry makes alike."""
    cell = [4.6, 4.6, 2.96, 90, 90, 90]
    atoms = crystal(["Cu", "Au"], [(0, 0, 0), (0.33, 0.33, 0)], spacegroup=136, cellpar=cell)
    atoms.set_constraint(list(constraints))
    return atoms


def with_symmetry(atoms: Atoms, **changes):
    return relax(atoms, EMT(), fix_symmetry=True, fmax=0.05, smax=0.01, steps=60, **changes)


@pytest.mark.parametrize("relax_cell", [False, True])
@pytest.mark.parametrize(
    "constraint",
    [
        FixAtoms([2, 3, 4, 5]),
        FixAtoms([0, 1]),
        FixCartesian([2, 3, 4, 5], mask=[0, 0, 1]),
        FixedPlane([2, 3, 4, 5], [0, 0, 1]),
        FixedLine([2, 3], [1, 1, 0]),
        FixCom(),
        Hookean(0, 2, 5, 3.0),
    ],
    ids=lambda c: f"{type(c).__name__}{getattr(c, 'index', '')}",
)
def test_constraints_that_symmetry_respects_hold_together_with_it(constraint, relax_cell):
    start = rutile(constraint)
    result = with_symmetry(start, relax_cell=relax_cell)
    assert result.reason == "converged"
    assert Held(start).violated(result.atoms) == ""
    symmetric = start.copy()
    symmetric.set_constraint(FixSymmetry(symmetric))
    assert Held(symmetric).violated(result.atoms) == ""
    assert [type(c) for c in result.atoms.constraints] == [type(constraint)]


def test_an_atom_that_is_held_and_its_images_are_not_is_not_moved_by_symmetry():
    """It once moved by 0.23 Å, and the relaxation said that it had converged."""
    message = "symmetry moves atom 2, which is held, together with 3, 4, 5, which are free"
    with pytest.raises(StructureError, match=message):
        with_symmetry(rutile(FixAtoms([2])))


@pytest.mark.parametrize(
    "constraint",
    [
        FixCartesian([2, 3, 4, 5], mask=[1, 0, 0]),
        FixedLine([2], [1, 0, 0]),
        FixScaled([2], [1, 1, 1]),
        FixBondLengths([[0, 2]]),
        FixInternals(bonds=[[rutile().get_distance(0, 2), [0, 2]]]),
    ],
    ids=lambda c: type(c).__name__,
)
def test_constraints_that_contradict_symmetry_are_refused(constraint):
    name = type(constraint).__name__
    with pytest.raises(StructureError, match=f"contradicts the constraint {name}"):
        with_symmetry(rutile(constraint))


def test_making_a_structure_symmetric_does_not_move_what_is_held():
    atoms = rutile(FixAtoms([2, 3, 4, 5]))
    atoms.positions[2, 0] += 0.005
    with pytest.raises(StructureError, match="first makes the structure symmetric.*FixAtoms does"):
        with_symmetry(atoms)


def test_a_constraint_that_the_relaxation_of_the_cell_breaks_is_not_called_converged():
    """The line is straight in space, and shear turns what lies on it."""
    atoms = rutile(FixedLine([2], [1, 0, 0]))
    result = relax(atoms, EMT(), relax_cell=True, fmax=0.05, smax=0.01, steps=40)
    assert (result.reason, result.converged) == ("violated", False)
    assert "the constraint FixedLine does not hold: atom 2 is" in result.message


class Forgetful(FixAtoms):
    """Changes forces only, as constraints written by users may."""

    def adjust_positions(self, atoms, new):
        if not atoms.constraints:
            super().adjust_positions(atoms, new)


class Impossible(FixAtoms):
    """Cannot be mended, as chains of bonds that have come apart."""

    def adjust_positions(self, atoms, new):
        if not np.allclose(atoms.positions, new):
            raise ValueError("no convergence")


def moved(constraint) -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.set_constraint(constraint)
    return atoms


def test_atoms_that_move_though_held_end_molecular_dynamics():
    result = md(moved(Forgetful([0])), EMT(), steps=30, temperature=300)
    assert (result.reason, result.converged) == ("violated", False)
    assert "Forgetful does not hold: atom 0" in result.message


def test_what_no_constraint_can_mend_is_violated():
    atoms = moved(Impossible([0]))
    held = Held(atoms)
    atoms.positions[1] += 0.1
    assert held.violated(atoms) == "the constraint Impossible does not hold: no convergence"


def test_a_constraint_that_cannot_be_met_is_refused_at_the_start():
    atoms = moved(Impossible([0]))
    atoms.constraints[0].adjust_positions = lambda atoms, new: int("no")
    with pytest.raises(StructureError, match="Impossible of the structure cannot be met: invalid"):
        Held(atoms)


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
@pytest.mark.parametrize(
    "constraint",
    [
        FixAtoms([0]),
        FixBondLengths([[0, 1]]),
        FixedPlane([2], [0, 0, 1]),
        FixCartesian([1], mask=[1, 0, 0]),
    ],
    ids=lambda c: type(c).__name__,
)
def test_constraints_hold_in_molecular_dynamics(constraint, ensemble):
    start = moved(constraint)
    result = md(start, EMT(), steps=20, temperature=300, ensemble=ensemble)
    assert result.reason == "done"
    assert Held(moved(constraint)).violated(result.atoms) == ""


def test_internal_coordinates_hold_in_a_relaxation():
    atoms = molecule("CH3OH")
    bond = [atoms.get_distance(0, 1) + 0.0, [0, 1]]
    atoms.set_constraint(FixInternals(bonds=[bond]))
    result = relax(atoms, EMT(), fmax=0.1, steps=50)
    assert result.reason in ("converged", "max_steps")
    assert result.atoms.get_distance(0, 1) == pytest.approx(bond[0], abs=1e-4)
