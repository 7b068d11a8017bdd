"""Units of labels by name: how people write them, and their factor to matkit's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from matkit.errors import UnknownNameError, did_you_mean
from matkit.units import BOHR, GPA, HARTREE, KCAL_PER_MOL, KJ_PER_MOL

# Factors to eV.
ENERGY_UNITS = {
    "eV": 1.0,
    "meV": 1e-3,
    "keV": 1e3,
    "hartree": HARTREE,
    "rydberg": HARTREE / 2,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
}
# Factors to Å.
LENGTH_UNITS = {"A": 1.0, "bohr": BOHR, "nm": 10.0, "pm": 0.01}
# Factors to eV/Å³, of units that are not an energy over a volume.
PRESSURE_UNITS = {
    "GPa": GPA,
    "kbar": GPA / 10,
    "MPa": GPA / 1e3,
    "bar": GPA / 1e4,
    "Pa": GPA / 1e9,
    "atm": GPA * 101325e-9,
}
# Other spellings, in small letters without spaces.
_SPELLINGS = {
    **dict.fromkeys(("ha", "eh", "hartrees", "au", "a.u.", "atomic", "e_h"), "hartree"),
    **dict.fromkeys(("ry", "ryd", "rydbergs"), "rydberg"),
    **dict.fromkeys(("electronvolt", "electronvolts"), "eV"),
    **dict.fromkeys(("kcal", "kcalpermol", "kcalmol-1", "kcal.mol-1"), "kcal/mol"),
    **dict.fromkeys(("kj", "kjpermol", "kjmol-1", "kj.mol-1"), "kJ/mol"),
}
_LENGTHS = {
    **dict.fromkeys(("ang", "angs", "angst", "angstrom", "angstroms", "å", "ångström"), "A"),
    **dict.fromkeys(("a0", "a_0", "bohrs", "bohrradius", "au", "a.u.", "atomic"), "bohr"),
    **dict.fromkeys(("nanometer", "nanometers", "nanometre"), "nm"),
}
# End of the name of a unit of energies that are to be multiplied by the number of atoms.
PER_ATOM = "/atom"
QUANTITIES = ("energy", "length", "forces", "stress")
# What an information system says with one word for energies and lengths.
SYSTEMS = {
    "metal": ("eV", "A"),
    "real": ("kcal/mol", "A"),
    "electron": ("hartree", "bohr"),
    "ase": ("eV", "A"),
    "atomic": ("hartree", "bohr"),
    "au": ("hartree", "bohr"),
    "a.u.": ("hartree", "bohr"),
}


def factor(quantity: str, unit: str) -> float:
    """Return what turns a number in a unit into eV, Å, eV/Å or eV/Å³.

    Args:
        quantity: One of `QUANTITIES`.
        unit: `hartree`, `kcal/mol`, `bohr`, `hartree/bohr`, `GPa`, ... in any usual spelling.

    Raises:
        UnknownNameError: there is no such unit of this quantity.
    """
    text = re.sub(r"[\s*^()]|\*\*", "", str(unit)).replace("³", "3")
    found = _factor(quantity, text)
    if found is None:
        known = known_units(quantity)
        raise UnknownNameError(f"Unknown {quantity}_unit {unit!r}.{did_you_mean(str(unit), known)}")
    return found


def known_units(quantity: str) -> list[str]:
    """Return the units of a quantity that a message lists."""
    if quantity == "energy":
        return list(ENERGY_UNITS)
    if quantity == "length":
        return list(LENGTH_UNITS)
    if quantity == "forces":
        return ["eV/A", "hartree/bohr", "hartree/A", "rydberg/bohr", "kcal/mol/A", "kJ/mol/nm"]
    return ["eV/A3", *PRESSURE_UNITS, "hartree/bohr3", "rydberg/bohr3"]


def _factor(quantity: str, text: str) -> float | None:
    if quantity == "energy":
        return _look_up(ENERGY_UNITS, _SPELLINGS, text.removesuffix(PER_ATOM))
    if quantity == "length":
        return _look_up(LENGTH_UNITS, _LENGTHS, text)
    if quantity == "stress" and (value := _look_up(PRESSURE_UNITS, {}, text)) is not None:
        return value
    power = 1 if quantity == "forces" else 3
    if text.lower() in ("au", "a.u.", "atomic"):
        text = f"hartree/bohr{power if power > 1 else ''}"
    energy, slash, length = text.rpartition("/")
    if not slash or (power == 3 and not length.endswith("3")):
        return None
    top = _look_up(ENERGY_UNITS, _SPELLINGS, energy)
    bottom = _look_up(LENGTH_UNITS, _LENGTHS, length.removesuffix("3") if power == 3 else length)
    return None if top is None or bottom is None else top / bottom**power


def _look_up(units: Mapping[str, float], spellings: Mapping[str, str], text: str) -> float | None:
    lowered = {name.lower(): value for name, value in units.items()}
    if text in units:  # MPa and mPa, if there ever are both
        return units[text]
    name = spellings.get(text.lower(), text)
    return lowered.get(name.lower())
