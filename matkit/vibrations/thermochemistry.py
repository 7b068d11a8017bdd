"""Thermochemistry of an ideal gas of rigid rotors and harmonic oscillators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ase import Atoms
from ase.thermochemistry import IdealGasThermo

from matkit.data.ase import charge_or_spin
from matkit.errors import StructureError
from matkit.hessians.modes import FLAT, NormalModes, is_linear
from matkit.vibrations.options import VibrationsOptions
from matkit.vibrations.symmetry import point_group

Geometry = Literal["monatomic", "linear", "nonlinear"]
PASCAL_PER_BAR = 1e5


@dataclass(frozen=True)
class Thermochemistry:
    """An ideal gas at one temperature and pressure; energies are those of one molecule.

    Attributes:
        temperature: K.
        pressure: bar.
        geometry: `monatomic`, `linear` or `nonlinear`.
        symmetry_number: Rotations that map the molecule onto itself.
        spin: Multiplicity 2S+1.
        enthalpy: Potential energy, zero-point energy and thermal enthalpy, eV.
        entropy: eV/K.
        gibbs_energy: Enthalpy minus temperature times entropy, eV.
    """

    temperature: float
    pressure: float
    geometry: Geometry
    symmetry_number: int
    spin: int
    enthalpy: float
    entropy: float
    gibbs_energy: float


def ideal_gas(
    atoms: Atoms, modes: NormalModes, energy: float, options: VibrationsOptions
) -> Thermochemistry:
    """Return enthalpy, entropy and Gibbs energy by ASE's `IdealGasThermo`.

    Args:
        atoms: Molecule, with its masses.
        modes: All its normal modes; one of them is imaginary for a transition state.
        energy: Potential energy, eV.
        options: Temperature, pressure, symmetry number, multiplicity.

    Raises:
        StructureError: other imaginary modes than expected, flat modes, or an impossible
            multiplicity.
    """
    problem = unexpected_modes(modes, options.transition_state)
    if problem:
        raise StructureError(problem)
    spin = multiplicity(atoms, options.spin)
    number = options.symmetry_number or symmetry_number(atoms)
    thermo = IdealGasThermo(
        modes.energies[len(modes.imaginary) :].tolist(),
        geometry=geometry(atoms),
        potentialenergy=energy,
        atoms=atoms,
        symmetrynumber=number,
        spin=(spin - 1) / 2,
        natoms=0,  # so that ASE takes all modes given, one fewer at a transition state
    )
    temperature, pascal = options.temperature, options.pressure * PASCAL_PER_BAR
    enthalpy = float(thermo.get_enthalpy(temperature, verbose=False))
    entropy = float(thermo.get_entropy(temperature, pascal, verbose=False))
    return Thermochemistry(
        temperature=temperature,
        pressure=options.pressure,
        geometry=geometry(atoms),
        symmetry_number=number,
        spin=spin,
        enthalpy=enthalpy,
        entropy=entropy,
        gibbs_energy=enthalpy - temperature * entropy,
    )


def unexpected_modes(modes: NormalModes, transition_state: bool) -> str:
    """Return what is wrong with the signs of the modes, empty if nothing."""
    if modes.flat:
        return f"expected no flat modes (below {FLAT:g} 1/cm), got {modes.flat}; no thermochemistry"
    wanted = int(transition_state)
    if len(modes.imaginary) == wanted:
        return ""
    kind = "a transition state" if transition_state else "a minimum"
    named = ", ".join(f"{-value:.1f}i 1/cm" for value in modes.imaginary)
    return (
        f"expected {wanted} imaginary modes for {kind}, got {len(modes.imaginary)}"
        f"{f' ({named})' if named else ''}; no thermochemistry"
    )


def geometry(atoms: Atoms) -> Geometry:
    """Return how many axes the molecule rotates about, in words."""
    if len(atoms) == 1:
        return "monatomic"
    return "linear" if is_linear(atoms) else "nonlinear"


def symmetry_number(atoms: Atoms) -> int:
    """Return the order of the molecule's rotation group; isotopes are told apart."""
    if len(atoms) == 1:
        return 1
    return int(point_group(atoms).get_rotational_symmetry_number())


def multiplicity(atoms: Atoms, given: int | None = None) -> int:
    """Return the multiplicity 2S+1: the one given, that in the structure's info, or 1.

    Raises:
        StructureError: it does not go with the number of electrons.
    """
    found = charge_or_spin(atoms, "spin")
    spin = int(1 if found is None else found) if given is None else given
    charge = charge_or_spin(atoms, "charge") or 0.0
    electrons = int(atoms.numbers.sum() - round(charge))
    if (electrons - spin) % 2 == 0 or not 1 <= spin <= electrons + 1:
        raise StructureError(
            f"{atoms.symbols} with charge {charge:g} has {electrons} electrons, which cannot have "
            f"the multiplicity {spin}. Give spin = 2S+1, e.g. {1 + electrons % 2}, or the charge "
            "in the structure's info."
        )
    return spin
