"""Hand-made crystals whose verdicts are known."""

import numpy as np
from pymatgen.core import Lattice, Structure

from matkit.crystals.reading import Crystal


def salt(a: float = 5.64, second: str = "Cl") -> Structure:
    """Rock salt in its cubic cell."""
    places = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), ["Na", second], places)


def caesium_chloride(a: float = 3.4) -> Structure:
    """The same composition as `salt` in another structure."""
    return Structure(Lattice.cubic(a), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def perovskite(a: float = 3.905, second: str = "Ti") -> Structure:
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice.cubic(a), ["Sr", second, "O", "O", "O"], places)


def wurtzite() -> Structure:
    places = [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
    return Structure.from_spacegroup("P6_3mc", Lattice.hexagonal(3.25, 5.2), ["Zn", "O"], places)


def disguised(structure: Structure, seed: int = 0) -> Structure:
    """The same crystal with another origin, order of atoms and orientation, and doubled."""
    rng = np.random.default_rng(seed)
    turned = structure.copy()
    turned.translate_sites(range(len(turned)), rng.random(3), frac_coords=True)
    turned.make_supercell([1, 1, 2])
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(len(turned))
    return Structure(
        turned.lattice.matrix @ rotation,
        [turned.species[i] for i in order],
        turned.frac_coords[order],
    )


def colliding() -> Structure:
    """Two atoms 0.4 Å apart."""
    return Structure(Lattice.cubic(4.0), ["Na", "Cl"], [[0, 0, 0], [0.1, 0, 0]])


def entry(structure: Structure | None, source: str = "made") -> Crystal:
    if structure is None:
        return Crystal(source, reason="unreadable")
    return Crystal(source, structure, tuple(structure.atomic_numbers))
