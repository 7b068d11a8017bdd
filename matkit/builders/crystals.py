"""Perturbations of a crystal, each a function of the crystal and a random generator."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from matkit.builders.geometry import Random, displaced
from matkit.builders.options import PerturbOptions

# Elements among which the one that replaces another is drawn.
SIMILAR = 4
# Thickness of slabs and of the vacuum between them, Å.
SLAB, VACUUM = 7.0, 12.0
MILLER = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))

Make = Callable[[], Atoms]


def perturbations(
    atoms: Atoms, elements: Sequence[int], options: PerturbOptions, rng: Random
) -> Iterator[tuple[str, Make]]:
    """Give the kind of every perturbed structure, and a function that draws one.

    Args:
        atoms: Crystal.
        elements: Atomic numbers of the whole set, which substitutes are taken from.
        options: How many of each kind.
        rng: Source of the randomness.
    """
    for amplitude in options.rattle:
        yield f"rattled-{amplitude:g}", lambda a=amplitude: displaced(atoms, a, rng)  # type: ignore[misc]

    def jiggled(changed: Atoms) -> Atoms:
        return displaced(changed, options.jiggle, rng)

    for change in options.volume:
        factor = np.eye(3) * (1 + change) ** (1 / 3)
        yield "strained", lambda f=factor: jiggled(deformed(atoms, f))  # type: ignore[misc]
    for largest in options.shear:
        yield "sheared", lambda s=largest: jiggled(deformed(atoms, shear(s, rng)))  # type: ignore[misc]
    others: list[tuple[str, int, Make]] = [
        ("vacancy", options.vacancies, lambda: vacancy(atoms, options, rng)),
        ("substituted", options.substitutions, lambda: substituted(atoms, elements, rng)),
        ("surface", options.surfaces, lambda: slab(atoms, rng)),
    ]
    for kind, count, make in others:
        for _ in range(count):
            yield kind, lambda make=make: jiggled(make())  # type: ignore[misc]


def responses(atoms: Atoms, options: PerturbOptions, rng: Random) -> Iterator[Atoms]:
    """Give pairs of structures on both sides of a crystal, one structure after the other."""
    cell = supercell(atoms, options.response_atoms, options.max_atoms)
    for amplitude in options.response:
        direction = displaced(cell, amplitude, rng).positions - cell.positions
        for sign in (-1, 1):
            moved = cell.copy()
            moved.positions += sign * direction
            yield moved
    for largest in options.response_strain:
        strain = rng.normal(size=(3, 3))
        strain = strain + strain.T
        strain *= largest / np.abs(np.linalg.eigvalsh(strain)).max()
        for sign in (-1, 1):
            yield deformed(atoms, np.eye(3) + sign * strain)


def deformed(atoms: Atoms, matrix: np.ndarray) -> Atoms:
    """Return a copy with cell and positions multiplied by a matrix [3, 3]."""
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ matrix, scale_atoms=True)
    return copy


def shear(largest: float, rng: Random) -> np.ndarray:
    """Return a random symmetric deformation [3, 3] that keeps the volume."""
    strain = rng.normal(size=(3, 3))
    strain = strain + strain.T
    strain -= np.eye(3) * np.trace(strain) / 3
    matrix = np.eye(3) + largest * strain / np.abs(np.linalg.eigvalsh(strain)).max()
    deformation: np.ndarray = matrix / np.cbrt(np.linalg.det(matrix))
    return deformation


def supercell(atoms: Atoms, least: int, most: int) -> Atoms:
    """Return a cell of at least `least` and at most `most` atoms, as near to a cube as can be."""
    repeats = np.ones(3, dtype=int)
    while len(atoms) * repeats.prod() < least:
        shortest = int(np.argmin(atoms.cell.lengths() * repeats))
        repeats[shortest] += 1
    if len(atoms) * repeats.prod() > most:
        repeats[:] = 1
    return atoms.repeat(tuple(repeats.tolist()))


def vacancy(atoms: Atoms, options: PerturbOptions, rng: Random) -> Atoms:
    """Return a supercell without one of its atoms.

    Raises:
        ValueError: it has one atom only.
    """
    cell = supercell(atoms, options.supercell_atoms, options.max_atoms)
    if len(cell) < 2:
        raise ValueError("a cell of one atom has none to take out")
    del cell[int(rng.integers(len(cell)))]
    return cell


def substituted(atoms: Atoms, elements: Sequence[int], rng: Random) -> Atoms:
    """Return a copy with one element replaced by a similar one, and the cell scaled by radii.

    Raises:
        ValueError: there is no other element to take.
    """
    old = int(rng.choice(np.unique(atoms.numbers)))
    near = sorted({*elements} - {old}, key=lambda z: (abs(_scale()[z] - _scale()[old]), z))
    if not near:
        raise ValueError("there is no other element in the set")
    copy = atoms.copy()
    copy.numbers[atoms.numbers == old] = int(rng.choice(near[:SIMILAR]))
    size = covalent_radii[copy.numbers].sum() / covalent_radii[atoms.numbers].sum()
    return deformed(copy, np.eye(3) * size)


@lru_cache(maxsize=1)
def _scale() -> list[float]:
    """Return the place of every element in the order of chemical similarity (Pettifor's)."""
    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # elements without a number
        numbers = [Element(symbol).mendeleev_no for symbol in chemical_symbols[1:104]]
    return [np.inf, *(np.inf if number is None else float(number) for number in numbers)]


def slab(atoms: Atoms, rng: Random) -> Atoms:
    """Return a slab of a random orientation and termination, in vacuum.

    Raises:
        ValueError: pymatgen finds none.
    """
    from pymatgen.core.surface import SlabGenerator
    from pymatgen.io.ase import AseAtomsAdaptor

    miller = MILLER[int(rng.integers(len(MILLER)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the way of searching for normal vectors
        structure = AseAtomsAdaptor.get_structure(atoms)
        cuts = SlabGenerator(structure, miller, SLAB, VACUUM, center_slab=True).get_slabs()
        if not cuts:
            raise ValueError(f"no slab along {miller}")
        chosen = cuts[int(rng.integers(len(cuts)))]
        made = AseAtomsAdaptor.get_atoms(chosen, msonable=False)
    return Atoms(made.numbers, made.positions, cell=made.cell, pbc=True)
