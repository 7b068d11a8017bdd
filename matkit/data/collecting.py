"""Structures and their labels, one after another, into columns in memory or on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from matkit.data.ase import charge_or_spin, check_atoms
from matkit.data.groups import group_of
from matkit.data.labels import (
    LABELS,
    Array,
    Label,
    LabelCount,
    LabelKeys,
    LabelReport,
    keys_of,
    labels_of,
)
from matkit.data.remarks import Remarks
from matkit.data.units_of_files import declared_units, length_scale
from matkit.errors import DataError, MatkitError, StructureError

if TYPE_CHECKING:
    from ase import Atoms

Column = NDArray[Any]

DEFAULT_TYPE = "Default"
# Columns of every set, with the type and shape of one row.
COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    "positions": ("f8", (3,)),
    "species": ("i8", ()),
    "cell": ("f8", (3, 3)),
    "pbc": ("?", (3,)),
    "n_atoms": ("i8", ()),
    "config_type": ("i4", ()),
    "group": ("i4", ()),
    "file": ("i4", ()),
    "index": ("i8", ()),
}
ROWS: dict[str, tuple[int, ...]] = {
    "energy": (),
    "forces": (3,),
    "stress": (3, 3),
    "charge": (),
    "spin": (),
}
LISTED = 5


@runtime_checkable
class Store(Protocol):
    """Where columns grow."""

    def append(self, name: str, rows: Column) -> None:
        """Add rows to a column, which begins with the first of them."""


class Memory:
    """Columns in memory."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Column]] = {}

    def append(self, name: str, rows: Column) -> None:
        """Add rows to a column."""
        self._parts.setdefault(name, []).append(rows)

    def column(self, name: str) -> Column:
        """Return a whole column."""
        return np.concatenate(self._parts.pop(name))


@dataclass(frozen=True)
class Names:
    """Texts that columns refer to by number.

    Attributes:
        config_type: Kinds of structures, of column `config_type`.
        group: Groups, of column `group`.
        file: Files, of column `file`.
    """

    config_type: list[str]
    group: list[str]
    file: list[str]

    def look_up(self, name: str, codes: Column) -> tuple[str, ...]:
        """Return the texts of a column."""
        texts = getattr(self, name)
        return tuple(texts[code] for code in codes.tolist())


class Collector:
    """Append structures to a store and decide in the end which labels count.

    Args:
        store: Where the columns go.
        keys: Where labels are looked for.
        problems: What is wrong with single structures or labels is added here; None raises.
    """

    def __init__(self, store: Store, keys: LabelKeys, problems: list[str] | None = None) -> None:
        self._store, self._keys, self._problems = store, keys, problems
        self._codes: dict[str, dict[str, int]] = {"config_type": {}, "group": {}, "file": {}}
        self._rows = {"system": 0, "atom": 0}
        self._columns: dict[tuple[str, str], str] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._masks: Counter[frozenset[tuple[str, str]]] = Counter()
        self._faults: dict[tuple[str, str], list[str]] = {}
        self._seen: set[str] = set()
        self._remarks = Remarks(keys)
        self._told: set[str] = set()

    def add(self, atoms: Atoms, file: str, index: int) -> None:
        """Append one structure, unless it is of another level of theory.

        Raises:
            StructureError: the structure cannot be used, and `problems` is None.
            DataError: its units are unknown or contradict the keys, and `problems` is None.
        """
        where = f"{file}[{index}]"
        if not self._remarks.wants(atoms):
            return
        try:
            check_atoms(atoms, f" in {where}")
        except StructureError as error:
            if self._problems is None:
                raise
            self._problems.append(str(error))
            return
        self._seen |= keys_of(atoms)
        labels, scale = self._labels(atoms, where)
        self._remarks.add(atoms, where, labels, scale)
        self._append_labels(atoms, where, labels)
        for name, rows in _columns(atoms, scale).items():
            self._store.append(name, rows)
        self._append_names(atoms, file, index)
        self._rows["system"] += 1
        self._rows["atom"] += len(atoms)

    def _append_names(self, atoms: Atoms, file: str, index: int) -> None:
        names = {
            "config_type": str(atoms.info.get("config_type", DEFAULT_TYPE)),
            "group": group_of(atoms, self._keys.group_key),
            "file": file,
        }
        for name, text in names.items():
            codes = self._codes[name]
            self._store.append(name, _row(codes.setdefault(text, len(codes)), "i4"))
        self._store.append("index", _row(index, "i8"))

    def _labels(self, atoms: Atoms, where: str) -> tuple[list[Label], float]:
        """Return the labels of a structure, and by what its positions are to be multiplied."""
        try:
            scale = length_scale(self._keys.units, declared_units(atoms.info))
            return list(labels_of(atoms, self._keys)), scale
        except MatkitError as error:
            if str(error) not in self._told:  # once, not for every structure of a file
                self._told.add(str(error))
                self._report(f"{where}: {error}")
            return [], 1.0

    def _append_labels(self, atoms: Atoms, where: str, labels: list[Label]) -> None:
        values: dict[tuple[str, str], Array] = {}
        for label in labels:
            if label.value is not None:
                values[label.place] = label.value
            elif label.problem:
                self._faults.setdefault(label.place, []).append(f"{where}: {label.problem}")
        self._counts.update(values.keys())
        self._masks[frozenset(values)] += 1
        for field in ("charge", "spin"):
            value = charge_or_spin(atoms, field)
            if value is not None:
                values[field, field] = np.array(value)
                self._counts[field, field] += 1
        for place in values.keys() - self._columns.keys():
            self._begin(place)
        for place, column in self._columns.items():
            self._store.append(column, _rows(place[0], values.get(place), len(atoms)))

    def _begin(self, place: tuple[str, str]) -> None:
        """Start a column that the structures before do not have."""
        self._columns[place] = f"{place[0]}-{len(self._columns)}"
        before = self._rows["atom" if place[0] == "forces" else "system"]
        self._store.append(self._columns[place], np.full((before, *ROWS[place[0]]), np.nan))

    def finish(self) -> tuple[dict[str, str | None], Names, LabelReport]:
        """Choose the place of every label.

        Returns:
            Column of each label (None where there is none), and of charge and spin if a
            structure has them (NaN where one does not say); names; and what was found.

        Raises:
            DataError: there is no structure, a label that is used is wrong, or a key that was
                asked for is nowhere.
        """
        remarks = self._remarks.findings()
        if not self._rows["system"]:
            raise DataError(f"Expected structures, got none.{_few(self._problems or [])}")
        chosen: dict[str, str | None] = {}
        found: dict[str, LabelCount] = {}
        for label in LABELS:
            found[label] = self._choose(label)
            key = found[label].key
            chosen[label] = self._columns.get((label, key)) if key is not None else None
        for field in ("charge", "spin"):
            if self._counts[field, field]:
                chosen[field] = self._columns[field, field]
        names = Names(**{name: list(codes) for name, codes in self._codes.items()})
        keys = tuple(sorted(self._seen))
        return chosen, names, LabelReport(self._rows["system"], **found, remarks=remarks, keys=keys)

    def _choose(self, label: str) -> LabelCount:
        places = self._keys.places(label)
        there = [key for key in places if self._counts[label, key] or (label, key) in self._faults]
        for key in self._keys.explicit(label):
            if key not in there:
                raise DataError(
                    f"No structure has {label} under the key {key!r}. Keys that there are: "
                    f"{', '.join(sorted(self._seen)) or 'none'}."
                )
        if not there:
            return LabelCount(None, 0)
        key = there[0]
        for fault in self._faults.get((label, key), []):
            self._report(f"{fault}. Correct it, or take the structure or the label out.")
        others = {other: n for other in there[1:] if (n := self._counts[label, other])}
        return LabelCount(key, self._counts[label, key], others, self._lost(label, key))

    def _lost(self, label: str, key: str) -> int:
        return sum(
            count
            for places, count in self._masks.items()
            if (label, key) not in places and any(place[0] == label for place in places)
        )

    def _report(self, problem: str) -> None:
        if self._problems is None:
            raise DataError(problem)
        self._problems.append(problem)


def _columns(atoms: Atoms, scale: float) -> Mapping[str, Column]:
    return {
        "positions": scale * atoms.positions.astype(np.float64),
        "species": atoms.numbers.astype(np.int64),
        "cell": scale * atoms.cell.array[None].astype(np.float64),
        "pbc": atoms.pbc[None].copy(),
        "n_atoms": _row(len(atoms), "i8"),
    }


def _rows(name: str, value: Array | None, n_atoms: int) -> Array:
    """Return the rows of one structure in a column, NaN where there is no value."""
    if name == "forces":
        return np.full((n_atoms, 3), np.nan) if value is None else value
    return np.full((1, *ROWS[name]), np.nan) if value is None else value[None]


def _row(value: int, kind: str) -> Column:
    return np.array([value], dtype=kind)


def _few(texts: list[str]) -> str:
    more = f" ... ({len(texts)} in all)" if len(texts) > LISTED else ""
    return "".join(f" {text}" for text in texts[:LISTED]) + more
