"""Which unit a label is in: what the user says, else what the file declares, else eV and Å."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isclose
from typing import Any

from matkit.data.unit_names import PER_ATOM, SYSTEMS, factor
from matkit.errors import DataError

# The unit in which a reader took positions, where the format leaves it open: they are in Å now.
ASSUMED_LENGTH = "assumed_length_unit"
# Whether the declared units are only a format's convention, which the user may overrule.
ASSUMED = "assumed_units"
_KEY = re.compile(
    r"(?:ref_|dft_)?(energy|energies|forces?|stress|stresses|lengths?|positions?|distances?|"
    r"coordinates?|cell)_units?"
)
_QUANTITY = {"energ": "energy", "force": "forces", "stres": "stress"}


# Unit by quantity that the user names; None where none is named.
Given = Mapping[str, str | None]


@dataclass(frozen=True)
class Declared:
    """Units that a structure declares itself.

    Attributes:
        units: Unit by quantity.
        by_key: Unit by the name of a label in small letters, which says more.
        assumed: Whether that is only the convention of a format.
        length_read: Unit in which a reader has taken the positions already, if it chose one.
    """

    units: Mapping[str, str]
    by_key: Mapping[str, str] = field(default_factory=dict)
    assumed: bool = False
    length_read: str = "A"


NOTHING = Declared({})


def declared_units(info: Mapping[str, Any]) -> Declared:
    """Return the units in ``atoms.info``: `energy-unit`, `forces_unit`, `units`, ..."""
    units: dict[str, str] = {}
    by_key: dict[str, str] = {}
    for key, value in info.items():
        if "unit" not in (name := key.lower().replace("-", "_").replace(" ", "_")):
            continue
        if name in ("units", "unit", "unit_system", "unit_style"):
            units |= _system(value)
            continue
        if name.endswith(("_unit", "_units")):
            by_key[name.removesuffix("s").removesuffix("_unit")] = str(value)
        if match := _KEY.fullmatch(name):
            units[_QUANTITY.get(match[1][:5], "length")] = str(value)
    if not units and not by_key:
        return NOTHING
    return Declared(units, by_key, bool(info.get(ASSUMED)), str(info.get(ASSUMED_LENGTH, "A")))


def unit_of(quantity: str, given: Given, declared: Declared, key: str = "") -> tuple[str, float]:
    """Return the name of the unit of a label and its factor to matkit's.

    Args:
        quantity: `energy`, `forces`, `stress` or `length`.
        given: What the user says.
        declared: What the structure says.
        key: Name of the label, if it has one.

    Returns:
        Name, empty if nobody names one; and factor.

    Raises:
        DataError: user and file name different units.
        UnknownNameError: the file names a unit that nobody knows.
    """
    named = declared.by_key.get(key.lower().replace("-", "_"))
    said, own = given[quantity], named or declared.units.get(quantity)
    if said is not None:
        if own is not None and not declared.assumed:
            _refuse_contradiction(quantity, said, own)
        return said, factor(quantity, said)
    if own is not None and not (declared.assumed and _speaks_of_units(given)):
        return own, factor(quantity, own)
    if quantity in ("energy", "length"):
        return "", 1.0
    energy, length = unit_of("energy", given, declared), unit_of("length", given, declared)
    power = 1 if quantity == "forces" else 3
    if not (energy[0] or length[0]):
        return "", 1.0
    name = (
        f"{energy[0].removesuffix(PER_ATOM) or 'eV'}/{length[0] or 'A'}{power if power > 1 else ''}"
    )
    return name, energy[1] / length[1] ** power


def length_scale(given: Given, declared: Declared) -> float:
    """Return by what positions and cells as they were read are to be multiplied."""
    return unit_of("length", given, declared)[1] / factor("length", declared.length_read)


def _speaks_of_units(given: Given) -> bool:
    return given["energy"] is not None or given["length"] is not None


def _refuse_contradiction(quantity: str, said: str, own: str) -> None:
    if not isclose(factor(quantity, said), factor(quantity, own), rel_tol=1e-3):
        raise DataError(
            f"{quantity}_unit is {said}, but the file itself declares {own}. Leave {quantity}_unit "
            "out, or take the declaration out of the file."
        )


def _system(value: Any) -> dict[str, str]:
    """Return the units that a word such as `metal`, or a table, stands for."""
    if isinstance(value, Mapping):
        return dict(declared_units({f"{key}_unit": unit for key, unit in value.items()}).units)
    energy, length = SYSTEMS.get(str(value).strip().lower(), ("", ""))
    return {"energy": energy, "length": length} if energy else {}
