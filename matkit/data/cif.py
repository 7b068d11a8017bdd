"""Crystals of CIF files, checked: what is not one ordered structure for certain is refused."""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from matkit.data.cif_sites import expanded, sites
from matkit.data.cif_symmetry import operations
from matkit.data.cif_tags import NOTHING, Tags, blocks, number
from matkit.data.species import species_of_type, with_masses
from matkit.elements import ATOMIC_NUMBERS, SYMBOLS
from matkit.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
TYPE_SYMBOL = "_atom_site_type_symbol"
ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
# Atoms that are closer, in sums of covalent radii, speak against symmetry that the file does not
# list; those of elements without multiple bonds to their like at once.
CLOSE, CLOSE_LIKE = 0.6, 0.85
SINGLE_BONDS = ("Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Te", "I")
Counts = Mapping[str, float]


def read_cif(text: str) -> Iterator[Atoms | str]:
    """Give the structures of a CIF, or why one is none; blocks without atoms are passed over.

    Sites and operators are read with pymatgen's parser, and what comes of them is held against
    ASE's reading and against the formula in the file: where two differ, the block is refused.
    """
    bare, empty = "", True
    for block in blocks(text):
        if isinstance(block, str):
            yield block
        elif _has_atoms(block):
            yield _structure_or_reason(block, text)
        else:
            bare = bare or (block.name if any(map(block.column, LENGTHS)) else "")
            continue
        empty = False
    if empty and bare:
        yield f"it has a cell and no atoms; is it cut off? (data_{bare})"


def _has_atoms(tags: Tags) -> bool:
    """Return whether there are sites; journals leave tables that hold nothing but a `?`."""
    names = ("fract_x", "cartn_x", "label", "type_symbol")
    texts = [text for name in names for text in tags.column(f"_atom_site_{name}")]
    return any(text not in NOTHING for text in texts)


def _structure_or_reason(tags: Tags, text: str) -> Atoms | str:
    try:
        return _structure(tags, text)
    except DataError as error:
        return f"{error} (data_{tags.name})"
    except Exception as error:  # what nobody has thought of, in one block of many
        return f"{type(error).__name__}: {error} (data_{tags.name})"


def _structure(tags: Tags, text: str) -> Atoms:
    """Return the structure of a block.

    Raises:
        DataError: it is not ordered, not complete, or can be understood in two ways.
    """
    from ase import Atoms

    formula = _formula(tags)
    cell = _cell(tags)
    listed = sites(tags, cell, frozenset(formula))
    if cell is None:
        species = [site.species for site in listed]
        bare = Atoms([one.number for one in species], [site.place for site in listed])
        return with_masses(bare, species)
    group = operations(tags, cell @ cell.T)
    found, places = expanded(listed, group, cell)
    species = [site.species for site in found]
    atoms = Atoms([one.number for one in species], scaled_positions=places, cell=cell, pbc=True)
    if not _is_confirmed(atoms, formula, tags):
        if group.doubt:
            raise DataError(f"{group.doubt}, and no formula with Z says which holds. Correct one")
        if group.listed and tags.column(TYPE_SYMBOL):
            _check_second_reading(atoms, tags, text)
        elif len(group.rotations) > 1 and not formula:
            _refuse_close(atoms)
    return with_masses(atoms, species)


def _cell(tags: Tags) -> np.ndarray | None:
    """Return the lattice vectors as rows, Å; None if the block has no cell.

    Raises:
        DataError: they are not complete, or span no volume.
    """
    from ase.cell import Cell

    texts = [tags.text(name) for name in (*LENGTHS, *ANGLES)]
    if not any(texts):
        return None
    values = [
        number(text or "?", name) for name, text in zip((*LENGTHS, *ANGLES), texts, strict=True)
    ]
    try:
        with np.errstate(all="ignore"):
            cell = Cell.new(values).array
    except AssertionError:  # angles that no three vectors have
        cell = np.zeros((3, 3))
    volume = abs(np.linalg.det(cell)) if np.isfinite(cell).all() else 0.0
    if min(values) <= 0 or volume < 1e-3 * np.prod(values[:3]):
        raise DataError(f"the cell {values} spans no volume")
    return np.asarray(cell)


def _formula(tags: Tags) -> Counts:
    """Return the elements that the file says there are, and how many; empty if it does not."""
    text = tags.text("_chemical_formula_sum")
    counts: Counter[str] = Counter()
    for word in text.replace(",", " ").split():
        found = re.fullmatch(r"(\d{0,3}[A-Za-z]{1,2}?)(\d+\.?\d*|\.\d+)?", word)
        species = species_of_type(found[1]) if found else None
        if found is None or species is None:
            return {}
        counts[SYMBOLS[species.number]] += float(found[2] or 1)  # type: ignore[assignment]
    return counts


def _is_confirmed(atoms: Atoms, formula: Counts, tags: Tags) -> bool:
    """Return whether the formula and the number of its units in the cell are those of the atoms.

    Raises:
        DataError: they are others.
    """
    if not formula:
        return False
    there, units = Counter(atoms.symbols), tags.text("_cell_formula_units_z")
    times = len(atoms) / sum(formula.values())
    same = there.keys() == formula.keys() and all(
        abs(count - times * formula[symbol]) < 0.02 * count for symbol, count in there.items()
    )
    known = units.isdigit() and int(units) > 0
    # Some programs write the atoms of the whole cell as formula, beside the number of units.
    whole = known and all(count % int(units) == 0 for count in formula.values())
    wanted = [float(units), *([1.0] if whole else [])] if known else [times]
    if not same or min(abs(times - one) for one in wanted) > 0.02 * times:
        raise DataError(
            f"the sites give {_written(there)}, but the formula is {_written(formula)}"
            f"{f' with Z = {units}' if known else ''}. Add the symmetry operators or the atoms "
            "that are missing, or correct the formula"
        )
    return known


def _refuse_close(atoms: Atoms) -> None:
    """Refuse what a wrong setting makes of a space group: atoms inside each other.

    Raises:
        DataError: there are such atoms.
    """
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    found = sorted(set(atoms.symbols))
    pairs = {
        (a, b): (covalent_radii[ATOMIC_NUMBERS[a]] + covalent_radii[ATOMIC_NUMBERS[b]])
        * (CLOSE_LIKE if a == b and a in SINGLE_BONDS else CLOSE)
        for a in found
        for b in found
    }
    first, second, distances = neighbor_list("ijd", atoms, pairs)
    if len(first):
        a, b = atoms.symbols[first[0]], atoms.symbols[second[0]]
        raise DataError(
            f"the space group alone gives {_written(Counter(atoms.symbols))}, where {a} is "
            f"{distances[0]:.2f} Å from {b}, and there are no symmetry operators and no formula. "
            "Add them"
        )


def _check_second_reading(atoms: Atoms, tags: Tags, text: str) -> None:
    """Hold the atoms against what ASE makes of the block, if it makes anything of it.

    Raises:
        DataError: the two differ.
    """
    from ase.io.cif import parse_cif

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            block = next(b for b in parse_cif(io.StringIO(text)) if b.name == tags.name)
            other = Counter(block.get_atoms(fractional_occupancies=False).symbols)
    except Exception:  # it stumbles over much that is right
        return
    mine = Counter(atoms.symbols)
    # Symbols in capitals, NA for Na, mean other elements to ASE; numbers still tell.
    capitals = any(re.match("[A-Z]{2}", symbol) for symbol in tags.column(TYPE_SYMBOL) or ())
    if (other.total() != mine.total()) if capitals else (other != mine):
        raise DataError(
            f"it can be read as {_written(mine)} and as {_written(other)}. Correct the sites or "
            "the symmetry operators"
        )


def _written(counts: Counts) -> str:
    return " ".join(f"{symbol}{count:g}" for symbol, count in sorted(counts.items()))
