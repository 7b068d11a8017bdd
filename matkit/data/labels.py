"""Where energies, forces and stresses stand in a file, and what they are in matkit's units.

Every place is read and counted; which one is used is decided when all structures are known, so
that one set never mixes two levels of theory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from matkit.errors import UnknownNameError, did_you_mean
from matkit.units import GPA

if TYPE_CHECKING:
    from ase import Atoms

LABELS = ("energy", "forces", "stress")
# Factor to eV/Å³.
STRESS_UNITS = {"eV/A3": 1.0, "GPa": GPA, "kbar": GPA / 10}
# Factor to ASE's sign, positive in tension; VASP prints compression as positive.
STRESS_SIGNS = {"ase": 1.0, "vasp": -1.0}
# In these, first one wins; a name ending in "()" is what ASE's calculator gives.
PLACES = {
    "energy": ("REF_energy", "energy()", "energy", "energy_per_atom"),
    "forces": ("REF_forces", "forces()", "forces"),
    "stress": (
        *("REF_stress", "REF_virials", "REF_virial"),
        *("stress()", "stress", "virials", "virial"),
    ),
}
# Voigt order xx, yy, zz, yz, xz, xy as an index of the 3x3 matrix.
_FROM_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])

Place = tuple[str, str]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class LabelKeys:
    """Where labels are looked for; None tries the places everybody uses.

    Attributes:
        energy_key: Total energy in eV, in ``atoms.info``.
        forces_key: Forces in eV/Å, in ``atoms.arrays``.
        stress_key: Stress: 3x3, or 6 numbers in the order xx, yy, zz, yz, xz, xy.
        virials_key: Virial -stress * volume in eV, used if there is no stress at all.
        stress_unit: `eV/A3`, `GPa` or `kbar`.
        stress_sign: `ase` (positive in tension) or `vasp` (positive in compression).
        group_key: What structures of one origin share, so that a split keeps them together.
        zero_net_force: Whether to subtract the mean force of each structure.
    """

    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    virials_key: str | None = None
    stress_unit: str = "eV/A3"
    stress_sign: str = "ase"
    group_key: str | None = None
    zero_net_force: bool = False

    def __post_init__(self) -> None:
        """Check unit and sign."""
        for name, known in (("stress_unit", STRESS_UNITS), ("stress_sign", STRESS_SIGNS)):
            value = getattr(self, name)
            if value not in known:
                raise UnknownNameError(f"Unknown {name} {value!r}.{did_you_mean(value, known)}")

    def explicit(self, label: str) -> tuple[str, ...]:
        """Return the keys given for `label`."""
        given = {
            "energy": (self.energy_key,),
            "forces": (self.forces_key,),
            "stress": (self.stress_key, self.virials_key),
        }
        return tuple(key for key in given[label] if key is not None)

    def places(self, label: str) -> tuple[str, ...]:
        """Return where `label` is looked for, the best place first."""
        return self.explicit(label) or PLACES[label]

    def is_virial(self, key: str) -> bool:
        """Whether `key` holds a virial and not a stress."""
        return key == self.virials_key or (key != self.stress_key and "virial" in key)


@dataclass(frozen=True)
class Found:
    """How often a label was found.

    Attributes:
        key: Place that is used; None if the label is nowhere.
        count: Structures that have it there.
        others: Structures that have it at another place, which is not used, by place.
        lost: Structures that have it at another place only, and so count as without label.
    """

    key: str | None
    count: int
    others: Mapping[str, int] = field(default_factory=dict)
    lost: int = 0


@dataclass(frozen=True)
class LabelReport:
    """Which labels a data set has, out of `structures` structures."""

    structures: int
    energy: Found
    forces: Found
    stress: Found

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.structures} structures with {'; '.join(self.lines())}"

    def lines(self) -> list[str]:
        """Return one line for each label."""
        return [self._line(label, getattr(self, label)) for label in LABELS]

    def _line(self, label: str, found: Found) -> str:
        if found.key is None:
            return f"no {label}"
        line = f"{found.count} {label} ({describe(found.key)})"
        if found.lost:
            others = ", ".join(f"{describe(key)}: {n}" for key, n in found.others.items())
            line += f", {found.lost} more not used because they are elsewhere ({others})"
        return line


def describe(place: str) -> str:
    """Return what a user calls a place."""
    return f"{place[:-2]} of the ASE calculator" if place.endswith("()") else place


@dataclass(frozen=True)
class Label:
    """One label of one structure.

    Attributes:
        place: Label and place, such as ``("energy", "REF_energy")``.
        value: Energy [] in eV, forces [N, 3] in eV/Å or stress [3, 3] in eV/Å³, if it is sound.
        problem: What is wrong with it otherwise.
    """

    place: Place
    value: Array | None
    problem: str = ""


def labels_of(atoms: Atoms, keys: LabelKeys) -> Iterator[Label]:
    """Give every label of a structure, at every place where there is one."""
    for label in LABELS:
        for key in keys.places(label):
            raw = _look_up(atoms, key, key in keys.explicit(label))
            if raw is not None:
                yield _checked((label, key), raw, atoms, keys)


def keys_of(atoms: Atoms) -> set[str]:
    """Return every key under which a structure carries something."""
    results = () if atoms.calc is None else atoms.calc.results
    own = {"numbers", "positions"}
    return {*atoms.info, *(key for key in atoms.arrays if key not in own), *results}


def _look_up(atoms: Atoms, key: str, is_explicit: bool) -> Any:
    """Return what stands under `key`; an explicit key may be the calculator's too."""
    # The attribute `results`, since get_forces() would apply constraints.
    results = {} if atoms.calc is None else atoms.calc.results
    if key.endswith("()"):
        return results.get(key[:-2])
    for where in (atoms.info, atoms.arrays, results if is_explicit else {}):
        if key in where:
            return where[key]
    return None


def _checked(place: Place, raw: Any, atoms: Atoms, keys: LabelKeys) -> Label:
    label, key = place
    try:
        value = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError):
        return Label(place, None, f"{describe(key)} is not made of numbers: {str(raw)[:60]!r}")
    expected = {"energy": "one number", "forces": f"[{len(atoms)}, 3]", "stress": "[3, 3] or [6]"}
    shaped = _SHAPES[label](value, len(atoms))
    if shaped is None:
        got = list(value.shape)
        problem = f"{label} ({describe(key)}) must be {expected[label]}, got the shape {got}"
        return Label(place, None, problem)
    if not np.isfinite(shaped).all():
        return Label(place, None, f"{label} ({describe(key)}) is NaN or infinite")
    return _in_ev(place, shaped, atoms, keys)


def _in_ev(place: Place, value: Array, atoms: Atoms, keys: LabelKeys) -> Label:
    label, key = place
    if label == "energy" and key == "energy_per_atom":
        return Label(place, np.asarray(value * len(atoms)))
    if label == "forces" and keys.zero_net_force:
        return Label(place, value - value.mean(axis=0))
    if label != "stress":
        return Label(place, value)
    if not keys.is_virial(key):
        return Label(place, value * STRESS_UNITS[keys.stress_unit] * STRESS_SIGNS[keys.stress_sign])
    if not atoms.cell.volume:
        return Label(place, None, f"a virial ({key}) needs a cell with a volume")
    return Label(place, -value / atoms.cell.volume)


def _as_scalar(value: Array, n_atoms: int) -> Array | None:
    return value.reshape(()) if value.size == 1 else None


def _as_forces(value: Array, n_atoms: int) -> Array | None:
    return value if value.shape == (n_atoms, 3) else None


def _as_matrix(value: Array, n_atoms: int) -> Array | None:
    if value.shape == (6,):
        return value[_FROM_VOIGT]
    return value.reshape(3, 3) if value.shape in ((9,), (3, 3)) else None


_SHAPES: dict[str, Callable[[Array, int], Array | None]] = {
    "energy": _as_scalar,
    "forces": _as_forces,
    "stress": _as_matrix,
}
