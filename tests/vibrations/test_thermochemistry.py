import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule

from matkit.errors import StructureError
from matkit.hessians import NormalModes, normal_modes
from matkit.vibrations import VibrationsOptions, ideal_gas
from matkit.vibrations.thermochemistry import multiplicity, symmetry_number
from tests.vibrations.springs import nitrogen, springs

JOULE_PER_MOLE = units.J / units.mol


def modes(*wavenumbers: float, n_atoms: int) -> NormalModes:
    count = len(wavenumbers)
    vectors = np.ones((count, n_atoms, 3)) / np.sqrt(3 * n_atoms)
    return NormalModes(np.array(wavenumbers), vectors, np.ones(count), 6)


def test_noble_gas():
    """NIST: S(He, 298.15 K, 1 bar) = 126.153 J/(K mol)."""
    gas = ideal_gas(Atoms("He"), modes(n_atoms=1), -1.0, VibrationsOptions())
    assert (gas.geometry, gas.symmetry_number, gas.spin) == ("monatomic", 1, 1)
    assert gas.entropy / JOULE_PER_MOLE == pytest.approx(126.153, abs=2e-3)
    assert gas.enthalpy == pytest.approx(-1.0 + 2.5 * units.kB * 298.15)


def test_diatomic_gas_by_hand():
    atoms, temperature, bar = nitrogen(), 500.0, 3.0
    found = normal_modes(atoms, springs().get_hessian(atoms))
    options = VibrationsOptions(temperature=temperature, pressure=bar)
    gas = ideal_gas(atoms, found, -2.0, options)
    boltzmann, planck = units._k, 2 * np.pi * units._hbar
    kt = boltzmann * temperature
    mass, moment = 28.014 * units._amu, 14.007 * units._amu / 2 * 1.1e-10**2
    translation = (2 * np.pi * mass * kt) ** 1.5 / planck**3 * kt / (bar * 1e5)
    rotation = 8 * np.pi**2 * moment * kt / (2 * planck**2)
    quantum = found.energies[0]
    vibration = 1 / (1 - np.exp(-quantum / (units.kB * temperature)))
    product = translation * rotation * vibration
    by_hand = -2.0 + quantum / 2 - units.kB * temperature * np.log(product)
    assert gas.gibbs_energy == pytest.approx(by_hand, abs=1e-6)
    assert gas.gibbs_energy == gas.enthalpy - temperature * gas.entropy


def test_radicals_have_more_entropy():
    atoms, found = Atoms("N"), modes(n_atoms=1)
    doublet = ideal_gas(atoms, found, 0.0, VibrationsOptions(spin=2))
    quartet = ideal_gas(atoms, found, 0.0, VibrationsOptions(spin=4))
    assert quartet.entropy - doublet.entropy == pytest.approx(units.kB * np.log(2))


def test_transition_state_leaves_its_mode_out():
    atoms = molecule("H2O")
    settings = VibrationsOptions(relax=False, transition_state=True)
    saddle = modes(-500.0, 1600.0, 3700.0, n_atoms=3)
    gas = ideal_gas(atoms, saddle, 0.0, settings)
    expected = ideal_gas(atoms, modes(1600.0, 3700.0, n_atoms=3), 0.0, VibrationsOptions())
    assert gas.gibbs_energy == pytest.approx(expected.gibbs_energy)
    minimum = modes(500.0, 1600.0, 3700.0, n_atoms=3)
    with pytest.raises(
        StructureError, match="expected 1 imaginary modes for a transition.*got 0; no"
    ):
        ideal_gas(atoms, minimum, 0.0, settings)


def test_imaginary_modes_are_never_dropped():
    saddle = modes(-500.0, 1600.0, 3700.0, n_atoms=3)
    with pytest.raises(
        StructureError, match=r"expected 0 imaginary.*minimum, got 1 \(500.0i 1/cm\)"
    ):
        ideal_gas(molecule("H2O"), saddle, 0.0, VibrationsOptions())


def test_flat_modes_have_no_thermochemistry():
    flat = modes(-1e-3, 1600.0, 3700.0, n_atoms=3)
    with pytest.raises(StructureError, match="no flat modes .* got 1"):
        ideal_gas(molecule("H2O"), flat, 0.0, VibrationsOptions())


@pytest.mark.parametrize(
    ("name", "number"),
    [("CO", 1), ("CO2", 2), ("H2O", 2), ("NH3", 3), ("C2H6", 6), ("CH4", 12), ("C6H6", 12)],
)
def test_symmetry_numbers(name, number):
    assert symmetry_number(molecule(name)) == number


def test_isotopes_lower_the_symmetry():
    water = molecule("H2O")
    water.set_masses([15.999, 2.014, 1.008])
    assert symmetry_number(water) == 1
    water.set_masses([17.999, 2.014, 2.014])
    assert symmetry_number(water) == 2


def test_a_given_symmetry_number_counts():
    atoms, found = molecule("CO"), modes(2000.0, n_atoms=2)
    one = ideal_gas(atoms, found, 0.0, VibrationsOptions())
    four = ideal_gas(atoms, found, 0.0, VibrationsOptions(symmetry_number=4))
    assert one.entropy - four.entropy == pytest.approx(units.kB * np.log(4))


@pytest.mark.parametrize(
    ("name", "info", "given", "expected"),
    [
        ("H2O", {}, None, 1),
        ("O2", {}, 3, 3),
        ("O2", {"spin": 3}, None, 3),
        ("O2", {"spin": 3}, 1, 1),
        ("OH", {}, 2, 2),
        ("OH", {"charge": -1}, None, 1),
    ],
)
def test_multiplicity(name, info, given, expected):
    atoms = molecule(name)
    atoms.info.update(info)
    assert multiplicity(atoms, given) == expected


@pytest.mark.parametrize(
    ("name", "info", "given", "message"),
    [
        ("OH", {}, None, "9 electrons.*multiplicity 1.*e.g. 2"),
        ("H2O", {}, 2, "10 electrons.*multiplicity 2.*e.g. 1"),
        ("H2O", {"charge": 1}, None, "charge 1 has 9 electrons"),
    ],
)
def test_impossible_multiplicities(name, info, given, message):
    atoms = molecule(name)
    atoms.info.update(info)
    with pytest.raises(StructureError, match=message):
        multiplicity(atoms, given)
