"""What structures say of themselves beside their labels, collected while they are read.

Units that were converted, levels of theory, weights, calculations that did not converge, labels
that contradict one another: whatever is found here would otherwise be ignored in silence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from matkit.data.aliases import is_label, same_rank
from matkit.data.ase import charge_or_spin
from matkit.data.findings import Finding, examples
from matkit.data.labels import Array, Label, LabelKeys, describe
from matkit.data.units_of_files import ASSUMED, ASSUMED_LENGTH
from matkit.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

# What tells levels of theory apart.
HEAD_KEYS = ("head", "level_of_theory", "functional", "xc")
NO_HEAD = "none"
# Weights of single structures in MACE's files.
WEIGHT = re.compile(r"config_weight|(config_)?(energy|forces?|stress|virials?)_weight")
# Not whether forces were relaxed, but whether the electrons were.
GEOMETRY = ("ionic", "geom", "relax", "opt", "force", "cell")
# A reader says here how it took a file.
READ_AS = "read_as"
# Forces and stresses that differ by more than this part of the largest number contradict, if they
# do by more than rounding; energies do if they differ by this much, in eV.
RELATIVE = 0.01
ROUNDING = {"energy": 1e-3, "forces": 1e-3, "stress": 1e-5}
_YES = {"true", "t", "yes", "1", "1.0"}
_NO = {"false", "f", "no", "0", "0.0"}


class Remarks:
    """Counts what structures say of themselves.

    Args:
        keys: Where labels are looked for.
    """

    def __init__(self, keys: LabelKeys) -> None:
        self._keys = keys
        self._heads: Counter[str] = Counter()
        self._converted: Counter[tuple[str, str, str]] = Counter()
        self._notes: Counter[str] = Counter()
        self._charges: Counter[float] = Counter()
        self._lists: dict[str, list[str]] = {}
        self._differing: dict[tuple[str, str, str], list[tuple[str, str]]] = {}

    def wants(self, atoms: Atoms) -> bool:
        """Count the level of theory of a structure; False if it is not the one to read."""
        head = head_of(atoms.info)
        self._heads[head] += 1
        return self._keys.head is None or head == self._keys.head

    def add(self, atoms: Atoms, where: str, labels: Sequence[Label], scale: float) -> None:
        """Take note of one structure.

        Args:
            atoms: Structure.
            where: Its file and place.
            labels: Its labels at every place, the best place of each label first.
            scale: By what its positions are multiplied.
        """
        info = atoms.info
        if scale != 1:
            self._notes[f"positions and cells multiplied by {scale:.6g} to be in Å"] += 1
        if READ_AS in info:
            self._notes[str(info[READ_AS])] += 1
        self._charges[charge_or_spin(atoms, "charge") or 0.0] += 1
        if says_unconverged(info):
            self._list("unconverged", where)
        for key, value in info.items():
            if WEIGHT.fullmatch(key) and value != 1:
                self._list(f"weight {key}", where)
        self._stresses(atoms, where, labels)
        self._compare(where, labels)
        for label in labels:
            if label.unit:
                self._converted[label.place[0], label.place[1], label.unit] += 1

    def findings(self) -> tuple[Finding, ...]:
        """Return what there is to be said.

        Raises:
            DataError: no structure is of the level of theory that was asked for.
        """
        return (
            *self._about_heads(),
            *(Finding("note", "format", f"{n} structures: {t}") for t, n in self._notes.items()),
            *self._about_units(),
            *self._about_differences(),
            *self._about_charges(),
            *self._about_lists(),
        )

    def _list(self, kind: str, where: str) -> None:
        self._lists.setdefault(kind, []).append(where)

    def _stresses(self, atoms: Atoms, where: str, labels: Sequence[Label]) -> None:
        found = [label for label in labels if label.place[0] == "stress"]
        if not found:
            return
        if found[0].value is None and not found[0].problem:
            self._list("stress without volume", where)
        elif not atoms.pbc.all() and np.any(found[0].value):
            self._list("stress of a vacuum", where)

    def _compare(self, where: str, labels: Sequence[Label]) -> None:
        """Compare what stands at several places for one label."""
        first: dict[str, Label] = {}
        for label in labels:
            if label.value is None:
                continue
            best = first.setdefault(label.place[0], label)
            if best is label or best.value is None:
                continue
            if how := _difference(label.place[0], best.value, label.value):
                places = label.place[0], best.place[1], label.place[1]
                self._differing.setdefault(places, []).append((where, how))

    def _about_heads(self) -> Iterator[Finding]:
        heads = dict(self._heads)
        if self._keys.head is not None and not self._heads[self._keys.head]:
            raise DataError(
                f"No structure has the head {self._keys.head!r}. Heads that there are: "
                f"{_counted(heads)}."
            )
        if set(heads) <= {NO_HEAD}:
            return
        if self._keys.head is not None:
            text = f"read {self._heads[self._keys.head]} structures of {self._keys.head}"
            yield Finding("note", "levels of theory", f"{text}; there are {_counted(heads)}")
        elif len(heads) == 1:
            yield Finding("note", "levels of theory", f"all structures are {_counted(heads)}")
        else:
            message = (
                f"structures are of several levels of theory: {_counted(heads)}. Their energies "
                "have nothing to do with each other"
            )
            fix = f"take one of them: --head {next(h for h in heads if h != NO_HEAD)}"
            yield Finding("problem", "levels of theory", message, fix)

    def _about_units(self) -> Iterator[Finding]:
        for (label, key, unit), count in self._converted.items():
            text = f"{label} ({describe(key)}) of {count} structures converted from {unit}"
            yield Finding("note", "units", text)

    def _about_differences(self) -> Iterator[Finding]:
        for (label, best, other), cases in self._differing.items():
            equal = same_rank(best, other)
            message = (
                f"{label} stands at {describe(best)}, which is used, and at {describe(other)}, and "
                f"they differ in {len(cases)} structures: "
                f"{examples([where for where, _ in cases], [how for _, how in cases])}"
            )
            if label == "stress":
                message += "; a virial is -stress times volume"
            fix = f"say which is right: --{label}-key KEY"
            if label == "stress":
                fix = "say which is right: --stress-key KEY or --virials-key KEY"
            yield Finding("problem" if equal else "note", f"two values of {label}", message, fix)

    def _about_charges(self) -> Iterator[Finding]:
        if set(self._charges) <= {0.0}:
            return
        table = _counted(
            {f"{charge:+g}" if charge else "0": n for charge, n in self._charges.items()}
        )
        if len(self._charges) == 1:
            text = f"all structures have the charge {table}; the model learns them as they are"
            yield Finding("warning", "charges", text, "use it for this charge only")
            return
        message = (
            f"structures have different charges: {table}. A model that is not told of the charge "
            "learns a mixture of them"
        )
        fix = "take one charge at a time, or --allow-problems if the model knows the charge"
        yield Finding("problem", "charges", message, fix)

    def _about_lists(self) -> Iterator[Finding]:
        for kind, sources in self._lists.items():
            severity, check, text, fix = _TEXTS.get(kind, _TEXTS["weight"])
            name = kind.removeprefix("weight ")
            message = text.format(n=len(sources), name=name, named=examples(sources))
            yield Finding(severity, check, message, fix)


_TEXTS = {
    "unconverged": (
        *("problem", "convergence"),
        "{n} structures say that their calculation did not converge: {named}",
        "take them out, or compute them again",
    ),
    "stress without volume": (
        *("warning", "stress without volume"),
        "{n} structures have a stress or virial but no volume, and it was left out: {named}",
        "give the cell a height, or take the stress out",
    ),
    "stress of a vacuum": (
        *("warning", "stress of a vacuum"),
        "{n} structures that are not periodic in three directions have a stress, which depends on "
        "how much vacuum there is: {named}",
        "take it out, unless it belongs to this very cell",
    ),
    "weight": (
        *("problem", "weights"),
        "{n} structures have a {name}, which is not used: {named}",
        "--config-type-weights by config_type; take the key out; or --allow-problems to ignore it",
    ),
}


def head_of(info: Mapping[str, Any]) -> str:
    """Return the level of theory that a structure names, or `NO_HEAD`."""
    named = (str(info[key]) for key in HEAD_KEYS if key in info)
    return next(named, NO_HEAD)


def _difference(label: str, one: Array, other: Array) -> str:
    """Return how two values of a label differ, or nothing."""
    size = float(np.abs(one).max()) if label != "energy" else 0.0
    apart = float(np.abs(one - other).max())
    if apart <= RELATIVE * size + ROUNDING[label]:
        return ""
    opposite = np.abs(one + other).max() < RELATIVE * size
    return "the sign is opposite" if opposite else f"by {apart:.3g}"


def says_unconverged(info: Mapping[str, Any]) -> bool:
    """Whether a structure says that its calculation did not converge."""
    for key, value in info.items():
        name = key.lower()
        if "converged" not in name or np.ndim(value) or any(word in name for word in GEOMETRY):
            continue
        negative = name.startswith(("un", "not", "non")) or "unconverged" in name
        if str(value).strip().lower() in (_YES if negative else _NO):
            return True
    return False


def describes_labels(key: str) -> bool:
    """Whether a key says something of labels that new ones make untrue."""
    name = key.lower()
    return (
        is_label(name)
        or name in (*HEAD_KEYS, READ_AS, ASSUMED, ASSUMED_LENGTH)
        or bool(WEIGHT.fullmatch(name))
        or "converged" in name
        or name.replace("-", "_").rstrip("s").endswith("unit")
    )


def _counted(table: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in sorted(table.items()))
