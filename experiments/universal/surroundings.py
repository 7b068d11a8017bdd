"""Surroundings that no table of crystals has.

Molecules on surfaces, atoms between lattice sites, and molecules packed into periodic cells, as in
molecular crystals and, after some dynamics, in liquids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii, vdw_radii
from ase.geometry import get_distances
from scipy.spatial.transform import Rotation

from matkit.builders.crystals import slab, supercell
from matkit.builders.geometry import approach
from matkit.data.groups import reduced_formula

Rng = np.random.Generator
SMALL = 4  # atoms of a molecule that goes on a surface, at most; large ones are packed alone
# Of the sum of covalent radii, of the nearest atoms: chemisorbed to physisorbed.
ADSORBED = (0.95, 1.9)
STEP = 0.05  # Å, by which a molecule comes down
GUESTS = (1, 3, 6, 7, 8)  # what is found between sites of others
PLACES = 50  # drawn for an interstitial, of which the one farthest from all atoms is taken
SQUEEZED = 0.55  # of the sum of covalent radii; nearer to its neighbours no atom is put
MOLECULES = (2, 8)  # in a packed cell
PACKED_ATOMS = 48
APART = 0.8  # of the sum of van der Waals radii, of atoms of different molecules
DENSITY = (0.4, 0.75)  # part of the volume of a packed cell that is inside of van der Waals radii
TRIES = 200


def adsorbate(
    crystals: Sequence[Atoms], molecules: Sequence[Atoms], most: int, rng: Rng
) -> Atoms | None:
    """Return a slab of a crystal with a small molecule on it, None if that has too many atoms."""
    crystal = crystals[int(rng.integers(len(crystals)))]
    small = [one for one in molecules if len(one) <= SMALL]
    molecule = turned(small[int(rng.integers(len(small)))], rng)
    try:
        surface = slab(crystal, rng)
    except ValueError:  # none in this direction
        return None
    if len(surface) + len(molecule) > most:
        return None
    normal = np.cross(surface.cell[0], surface.cell[1])
    normal /= np.linalg.norm(normal)
    top = (surface.positions @ normal).max()
    place = rng.random(2) @ surface.cell.array[:2]
    place += (top + 4.0 - place @ normal) * normal
    near = rng.uniform(*ADSORBED)
    while True:
        both = surface.copy()
        both.extend(Atoms(molecule.numbers, molecule.positions + place))
        if between(both, len(surface), covalent_radii) < near:
            both.info = {"group": crystal.info["group"]}
            return both
        place -= STEP * normal
        if place @ normal < top - 4.0:  # it fell through a hole
            return None


def interstitial(
    crystals: Sequence[Atoms], molecules: Sequence[Atoms], most: int, rng: Rng
) -> Atoms | None:
    """Return a supercell with an atom between its sites, its own or a guest."""
    crystal = crystals[int(rng.integers(len(crystals)))]
    cell = supercell(crystal, 16, most - 1)
    own = bool(rng.random() < 0.5)
    number = int(rng.choice(np.unique(cell.numbers) if own else GUESTS))
    best, distance = None, SQUEEZED
    for place in rng.random((PLACES, 3)) @ cell.cell.array:
        more = cell.copy()
        more.extend(Atoms([number], [place]))
        if (found := between(more, len(cell), covalent_radii)) > distance:
            best, distance = more, found
    if best is None or len(best) > most:
        return None
    best.info = {"group": crystal.info["group"]}
    return best


def packed(
    crystals: Sequence[Atoms], molecules: Sequence[Atoms], most: int, rng: Rng
) -> Atoms | None:
    """Return molecules of one or two kinds in a periodic cell, as dense as in liquids."""
    kinds = [molecules[int(i)] for i in rng.integers(len(molecules), size=int(rng.integers(1, 3)))]
    count = int(rng.integers(MOLECULES[0], MOLECULES[1] + 1))
    chosen: list[Atoms] = []
    while len(chosen) < count:
        one = kinds[int(rng.integers(len(kinds)))]
        if sum(map(len, chosen)) + len(one) > min(most, PACKED_ATOMS):
            break
        chosen.append(turned(one, rng))
    if len(chosen) < MOLECULES[0]:
        return None
    spheres = sum((4 / 3 * np.pi * _radii(one.numbers) ** 3).sum() for one in chosen)
    # Spheres of bonded atoms overlap: about three fifths of them are the molecule's volume.
    length = np.cbrt(0.6 * spheres / rng.uniform(*DENSITY))
    made = Atoms(cell=np.eye(3) * length, pbc=True)
    for one in chosen:
        for _ in range(TRIES):
            more = made.copy()
            more.extend(Atoms(one.numbers, one.positions + rng.random(3) * length))
            if not len(made) or between(more, len(made), vdw_radii) > APART:
                made = more
                break
        else:
            return None
    made.info = {"group": kinds[0].info["group"]}
    return made


KINDS: dict[str, Callable[[Sequence[Atoms], Sequence[Atoms], int, Rng], Atoms | None]] = {
    "adsorbate": adsorbate,
    "interstitial": interstitial,
    "packed": packed,
}


def surroundings(
    kind: str,
    crystals: Sequence[Atoms],
    molecules: Sequence[Atoms],
    count: int,
    most: int,
    forbidden: set[str],
    seed: int,
) -> Iterator[Atoms]:
    """Give structures of a kind, none of a forbidden formula.

    Args:
        kind: One of `KINDS`.
        crystals: What is under and around; `info` says their groups.
        molecules: What is on surfaces and in cells, likewise.
        count: How many.
        most: Atoms of a structure.
        forbidden: Reduced formulas.
        seed: Of everything random.
    """
    rng, given = np.random.default_rng([seed, [*KINDS].index(kind)]), 0
    while given < count:
        made = KINDS[kind](crystals, molecules, most, rng)
        if made is None or approach(made) < SQUEEZED or reduced_formula(made.numbers) in forbidden:
            continue
        made.info |= {"source": kind}
        given += 1
        yield made


def turned(molecule: Atoms, rng: Rng) -> Atoms:
    """Return a molecule turned at random about its middle, which is at the origin."""
    positions = molecule.positions - molecule.positions.mean(axis=0)
    rotation = Rotation.random(random_state=rng).as_matrix()
    return Atoms(molecule.numbers, positions @ rotation.T, info=molecule.info)


def between(atoms: Atoms, first: int, radii: np.ndarray) -> float:
    """Return the smallest distance of the first atoms from the others, as part of their radii."""
    places = atoms.positions
    _, distances = get_distances(places[first:], places[:first], atoms.cell, atoms.pbc)
    sums = np.add.outer(_radii(atoms.numbers[first:], radii), _radii(atoms.numbers[:first], radii))
    return float((distances / sums).min())


def _radii(numbers: np.ndarray, radii: np.ndarray = vdw_radii) -> np.ndarray:
    return np.nan_to_num(radii[numbers], nan=2.0)
