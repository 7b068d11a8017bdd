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

from matkit.data.aliases import PLACES, is_certain, is_gradient, names_virial
from matkit.data.findings import Finding
from matkit.data.unit_names import PER_ATOM, QUANTITIES, factor
from matkit.data.units_of_files import declared_units, length_scale, unit_of
from matkit.errors import UnknownNameError, did_you_mean
from matkit.units import BOHR, GPA, HARTREE, KCAL_PER_MOL, KJ_PER_MOL

if TYPE_CHECKING:
    from ase import Atoms

LABELS = ("energy", "forces", "stress")
# Factor to eV/Å³ of the units that a check of stresses tells apart.
STRESS_UNITS = {"eV/A3": 1.0, "GPa": GPA, "kbar": GPA / 10}
# Factor to eV/Å of the units that a check of forces tells apart.
FORCE_UNITS = {
    "eV/A": 1.0,
    "eV/bohr": 1 / BOHR,
    "hartree/bohr": HARTREE / BOHR,
    "hartree/A": HARTREE,
    "rydberg/bohr": HARTREE / 2 / BOHR,
    "kcal/mol/A": KCAL_PER_MOL,
    "kJ/mol/A": KJ_PER_MOL,
    "kJ/mol/nm": KJ_PER_MOL / 10,
}
# Factor to ASE's sign, positive in tension; VASP prints compression as positive.
STRESS_SIGNS = {"ase": 1.0, "vasp": -1.0}
# Factor to forces of what stands under the name of forces.
FORCES_SIGNS = {"force": 1.0, "gradient": -1.0}
# Voigt order xx, yy, zz, yz, xz, xy as an index of the 3x3 matrix.
_FROM_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])

Place = tuple[str, str]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class LabelKeys:
    """Where labels are looked for; None tries the places everybody uses.

    Attributes:
        energy_key: Total energy, in ``atoms.info``.
        forces_key: Forces, in ``atoms.arrays``.
        stress_key: Stress: 3x3, or 6 numbers in the order xx, yy, zz, yz, xz, xy.
        virials_key: Virial -stress * volume, used if there is no stress at all.
        energy_unit: Unit of energies and virials; None is what the file says, else eV.
        length_unit: Unit of positions and cells; None is what the file says, else Å.
        forces_unit: Unit of forces; None is what the file says, else energy over length.
        stress_unit: Unit of stresses; None is what the file says, else energy over volume.
        forces_sign: `force`, or `gradient` of the energy, which is minus the force.
        stress_sign: `ase` (positive in tension) or `vasp` (positive in compression).
        group_key: What structures of one origin share, so that a split keeps them together.
        head: Level of theory to read (MACE's ``head``), if there are several in a file.
        zero_net_force: Whether to subtract the mean force of each structure.
    """

    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    virials_key: str | None = None
    energy_unit: str | None = None
    length_unit: str | None = None
    forces_unit: str | None = None
    stress_unit: str | None = None
    forces_sign: str = "force"
    stress_sign: str = "ase"
    group_key: str | None = None
    head: str | None = None
    zero_net_force: bool = False

    def __post_init__(self) -> None:
        """Check units and sign."""
        for quantity, unit in self.units.items():
            if unit is not None:
                factor(quantity, unit)
        for name, known in (("forces_sign", FORCES_SIGNS), ("stress_sign", STRESS_SIGNS)):
            value = getattr(self, name)
            if value not in known:
                raise UnknownNameError(f"Unknown {name} {value!r}.{did_you_mean(value, known)}")

    @property
    def units(self) -> Mapping[str, str | None]:
        """Unit of each quantity, None where none is named."""
        return {quantity: getattr(self, f"{quantity}_unit") for quantity in QUANTITIES}

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
        return key == self.virials_key or (key != self.stress_key and names_virial(key))


@dataclass(frozen=True)
class LabelCount:
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
    """Which labels a data set has, out of `structures` structures.

    Attributes:
        structures: Number of structures.
        energy: Where the energies are.
        forces: Where the forces are.
        stress: Where the stresses are.
        remarks: What the structures say of themselves: units, levels of theory, weights, ...
        keys: Every key under which a structure carries something.
    """

    structures: int
    energy: LabelCount
    forces: LabelCount
    stress: LabelCount
    remarks: tuple[Finding, ...] = ()
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return one line."""
        text = f"{self.structures} structures with {'; '.join(self.lines())}"
        is_complete = self.energy.key is not None and self.forces.key is not None
        return text if is_complete else f"{text} ({self.keys_found})"

    @property
    def keys_found(self) -> str:
        """Which keys there are, for messages that miss one."""
        return f"keys found here: {', '.join(self.keys) or 'none'}"

    def lines(self) -> list[str]:
        """Return one line for each label."""
        return [self._line(label, getattr(self, label)) for label in LABELS]

    def _line(self, label: str, count: LabelCount) -> str:
        if count.key is None:
            return f"no {label}"
        line = f"{count.count} {label} ({describe(count.key)})"
        if count.lost:
            others = ", ".join(f"{describe(key)}: {n}" for key, n in count.others.items())
            line += f", {count.lost} more not used because they are elsewhere ({others})"
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
        problem: What is wrong with it otherwise; empty if it is to be ignored.
        unit: Unit it was in, as the file or the keys name it; empty where none is named.
    """

    place: Place
    value: Array | None
    problem: str = ""
    unit: str = ""


class Labelled:
    """A structure with the names of everything it carries, in small letters too."""

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms
        # The attribute `results`, since get_forces() would apply constraints.
        self.results = {} if atoms.calc is None else atoms.calc.results
        self.declared = declared_units(atoms.info)
        self._names = [(where, _lowered(where)) for where in (atoms.info, atoms.arrays)]

    def value(self, key: str, is_explicit: bool) -> Any:
        """Return what stands under `key`; an explicit key may be the calculator's too."""
        if key.endswith("()"):
            return self.results.get(key[:-2])
        for where, names in self._names:
            if key in where:
                return where[key]
            if not is_explicit and (name := names.get(key.lower())) is not None:
                return where[name]
        return self.results.get(key) if is_explicit else None


def labels_of(atoms: Atoms, keys: LabelKeys) -> Iterator[Label]:
    """Give every label of a structure, at every place where there is one.

    Raises:
        DataError: the file and the keys name different units.
        UnknownNameError: the file names a unit that nobody knows.
    """
    labelled = Labelled(atoms)
    for label in LABELS:
        for key in keys.places(label):
            is_explicit = key in keys.explicit(label)
            raw = labelled.value(key, is_explicit)
            if raw is None:
                continue
            found = _checked((label, key), raw, labelled, keys)
            if found.value is not None or is_explicit or is_certain(key):
                yield found


def keys_of(atoms: Atoms) -> set[str]:
    """Return every key under which a structure carries something."""
    results = () if atoms.calc is None else atoms.calc.results
    own = {"numbers", "positions"}
    return {*atoms.info, *(key for key in atoms.arrays if key not in own), *results}


def _lowered(names: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): name for name in names}


def _checked(place: Place, raw: Any, labelled: Labelled, keys: LabelKeys) -> Label:
    label, key = place
    n_atoms = len(labelled.atoms)
    try:
        value = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError):
        return Label(place, None, f"{describe(key)} is not made of numbers: {str(raw)[:60]!r}")
    expected = {"energy": "one number", "forces": f"[{n_atoms}, 3]", "stress": "[3, 3] or [6]"}
    shaped = _SHAPES[label](value, n_atoms)
    if shaped is None:
        got = list(value.shape)
        problem = f"{label} ({describe(key)}) must be {expected[label]}, got the shape {got}"
        return Label(place, None, problem)
    if not np.isfinite(shaped).all():
        return Label(place, None, f"{label} ({describe(key)}) is NaN or infinite")
    return _in_ev(place, shaped, labelled, keys)


def _in_ev(place: Place, value: Array, labelled: Labelled, keys: LabelKeys) -> Label:
    label, key = place
    atoms = labelled.atoms
    # A virial is an energy.
    quantity = "energy" if label == "stress" and keys.is_virial(key) else label
    unit, size = unit_of(quantity, keys.units, labelled.declared, key.removesuffix("()"))
    value = value * size
    is_per_atom = key == "energy_per_atom" or unit.endswith(PER_ATOM)
    unit = unit if size != 1 or is_per_atom else ""
    if label == "energy" and is_per_atom:
        return Label(place, np.asarray(value * len(atoms)), unit=unit or f"eV{PER_ATOM}")
    if label == "forces":
        value = -value if is_gradient(key) else FORCES_SIGNS[keys.forces_sign] * value
        value = value - value.mean(axis=0) if keys.zero_net_force else value
    if label != "stress":
        return Label(place, np.asarray(value), unit=unit)
    if not atoms.cell.volume:
        return Label(place, None)
    if keys.is_virial(key):
        scale = length_scale(keys.units, labelled.declared) ** 3
        return Label(place, -value / (atoms.cell.volume * scale), unit=unit)
    return Label(place, value * STRESS_SIGNS[keys.stress_sign], unit=unit)


def _as_scalar(value: Array, _n_atoms: int) -> Array | None:
    return value.reshape(()) if value.size == 1 else None


def _as_forces(value: Array, n_atoms: int) -> Array | None:
    return value.reshape(n_atoms, 3) if value.shape in ((n_atoms, 3), (3 * n_atoms,)) else None


def _as_matrix(value: Array, _n_atoms: int) -> Array | None:
    if value.shape == (6,):
        return value[_FROM_VOIGT]
    return value.reshape(3, 3) if value.shape in ((9,), (3, 3)) else None


_SHAPES: dict[str, Callable[[Array, int], Array | None]] = {
    "energy": _as_scalar,
    "forces": _as_forces,
    "stress": _as_matrix,
}
