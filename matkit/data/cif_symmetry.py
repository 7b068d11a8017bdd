"""The symmetry operations of a CIF: those it lists, or those of the space group it names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import spglib
from jaxtyping import Float, Int

from matkit.data.cif_tags import Tags
from matkit.errors import DataError

NAMES = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_space_group_name_h-m",
)
# Names of before 1995, without spaces, whose glide planes have got the letter e.
OLD = {"abm2": "aem2", "aba2": "aea2", "cmca": "cmce", "cmma": "cmme", "ccca": "ccce"}
# Endings of names that say which origin or axes, as databases write them.
CHOICES = {"s": "1", "z": "2", "1": "1", "2": "2", "h": "H", "r": "R"}
CHOICE = re.compile(r"(.+?)(?:\s*:\s*|\s+|\s*\()(?:origin choice\s*)?([SZHR12])\)?")


class Operations(NamedTuple):
    """Rotations [G,3,3] and translations [G,3] of fractional coordinates.

    `listed` says whether the file has them, `doubt` what speaks against them.
    """

    rotations: Int[np.ndarray, "G 3 3"]
    translations: Float[np.ndarray, "G 3"]
    listed: bool
    doubt: str = ""


def operations(tags: Tags, metric: Float[np.ndarray, "3 3"]) -> Operations:
    """Return the operations of a block.

    Args:
        tags: What the block says.
        metric: Scalar products of the lattice vectors, Å².

    Raises:
        DataError: they are no group, or the file does not say which of several settings is meant.
    """
    number, name = _number(tags), tags.text(*NAMES)
    hall = tags.text("_space_group_name_hall", "_symmetry_space_group_name_hall")
    listed = tags.column("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
    if listed:
        rotations, translations, found = _listed(tuple(listed))
        if not _keep(rotations, metric):
            raise DataError("the cell does not have the symmetry of its operators")
        meant = _numbers_of(name) if number is None else {number}
        doubt = ""
        if found and meant and found not in meant:
            said = f"number {number}" if number is not None else name
            doubt = f"it lists the operators of space group {found} and names {said}"
        return Operations(rotations, translations, True, doubt)
    setting = 1 if number is None and not (name or hall) else _setting(number, name, hall, metric)
    table = spglib.get_symmetry_from_database(setting)
    assert table is not None
    return Operations(table["rotations"], table["translations"], False)


def _number(tags: Tags) -> int | None:
    text = tags.text("_space_group_it_number", "_symmetry_int_tables_number")
    if not text:
        return None
    if not text.isdigit() or not 0 < int(text) < 231:
        raise DataError(f"expected a number of a space group from 1 to 230, got {text!r}")
    return int(text)


@lru_cache(maxsize=256)
def _listed(texts: tuple[str, ...]) -> tuple[Any, Any, int]:
    """Return the rotations, translations and space group of operators as text.

    Raises:
        DataError: one cannot be read, or they do not form a group.
    """
    from ase.spacegroup.spacegroup import parse_sitesym

    try:
        rotations, translations = parse_sitesym([text.lower() for text in texts])
    except Exception as error:
        raise DataError(f"the symmetry operators cannot be read: {error}") from error
    if not _is_group(rotations, translations):
        raise DataError(
            f"its {len(texts)} symmetry operators do not form a group: some are wrong, missing or "
            "there twice"
        )
    found = spglib.get_spacegroup_type_from_symmetry(rotations, translations)
    return rotations, translations, 1 if len(texts) == 1 else found.number if found else 0


def _is_group(rotations: np.ndarray, translations: np.ndarray) -> bool:
    """Return whether all products are there, and nothing twice; translations to 1/24."""
    if not (abs(np.linalg.det(rotations)).round() == 1).all():
        return False
    steps = (translations * 24).round().astype(int)
    if abs(translations * 24 - steps).max() > 24 * 0.01:
        return False
    products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 9)
    moved = (np.einsum("aij,bj->abi", rotations, steps) + steps[:, None]).reshape(-1, 3) % 24
    rows = np.concatenate([rotations.reshape(-1, 9), steps % 24], axis=1)
    made = np.unique(np.concatenate([products, moved], axis=1).astype(int), axis=0)
    own = np.unique(rows.astype(int), axis=0)
    return len(own) == len(rows) and np.array_equal(own, made)


def _setting(number: int | None, name: str, hall: str, metric: np.ndarray) -> int:
    """Return the number in Hall's list of the setting that a block means.

    Raises:
        DataError: there is none, or several of which none is usual.
    """
    plain, choice = _plain_name(name)
    found = [(i, t) for i, t in _settings() if number in (None, t.number)]
    if hall:
        wanted = "".join(hall.split()).lower()
        exact = [(i, t) for i, t in found if "".join(t.hall_symbol.split()).lower() == wanted]
        found = exact or found
    if plain:
        found = _named(found, plain)
    said = ", ".join(filter(None, [name, str(number) if number else "", hall]))
    if not found:
        raise DataError(f"there is no space group {said!r}. Add the symmetry operators")
    fitting = [
        (i, t) for i, t in found if choice in ("", t.choice[:1]) and _keep(_rotations(i), metric)
    ]
    if not fitting:
        raise DataError(f"the cell does not have the symmetry of space group {said!r}")
    if {"1", "2"} <= {t.choice[:1] for _, t in fitting}:
        raise DataError(
            f"space group {said} has two usual origins, and the file does not say which. Add the "
            "symmetry operators, or :1 or :2 to the name"
        )
    return fitting[0][0]


@cache
def _settings() -> list[tuple[int, Any]]:
    return [(i, spglib.get_spacegroup_type(i)) for i in range(1, 531)]


def _plain_name(name: str) -> tuple[str, str]:
    """Return a name without spaces in lower case, and the choice of origin or axes."""
    found = CHOICE.fullmatch(name.strip())
    text, choice = name, ""
    if found and (found[2] in "SZHR" or re.search(r"[:(]", name)):
        text, choice = found[1], CHOICES[found[2].lower()]
    plain = re.sub(r"[\s_]", "", text).lower()
    return OLD.get(plain, plain), choice


@lru_cache(maxsize=256)
def _numbers_of(name: str) -> set[int]:
    """Return the numbers of the space groups of a name, none if nobody knows it."""
    return {t.number for _, t in _named(_settings(), _plain_name(name)[0])}


def _named(found: Sequence[tuple[int, Any]], plain: str) -> list[tuple[int, Any]]:
    """Return the settings of a name: one whose full name it is, else all of the short name."""
    for spelling in dict.fromkeys([plain, plain.replace("3", "-3", 1)]):
        for names in (_long_names, _short_names):
            matching = [(i, t) for i, t in found if spelling in names(t)]
            if matching:
                return matching
    return []


def _long_names(kind: Any) -> set[str]:
    return _squeezed([kind.international_full, *kind.international.split("=")[1:]])


def _short_names(kind: Any) -> set[str]:
    full = kind.international_full.split()
    named = [word for word in full if word != "1"]  # P 1 21/n 1 is called P 21/n
    return _squeezed([kind.international_short, kind.international.split("=")[0], "".join(named)])


def _squeezed(names: Iterable[str]) -> set[str]:
    return {re.sub(r"[\s_]", "", name).lower() for name in names}


@cache
def _rotations(setting: int) -> np.ndarray:
    table = spglib.get_symmetry_from_database(setting)
    assert table is not None
    return np.unique(table["rotations"], axis=0)


def _keep(rotations: np.ndarray, metric: np.ndarray) -> bool:
    """Return whether rotations leave the shape of the cell as it is."""
    turned = np.einsum("gia,ij,gjb->gab", rotations, metric, rotations)
    return bool(abs(turned - metric).max() < 0.01 * abs(metric).max())
