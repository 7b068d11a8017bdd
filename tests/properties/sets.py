"""Small sets with properties whose dependence on the structure is known."""

import numpy as np
from ase.build import molecule
from ase.io import write

BODY = {"name": "facet", "irreps": ["8x0e", "16x0e+8x1o", "16x0e"], "lmax": 1, "cutoff": 4.0}
BODY |= {"residual_init": 1.0}
NAMES = ("H2O", "CH4", "NH3", "CH3OH", "C2H6", "H2CO")


def frames(count=4, names=NAMES, seed=0):
    """Rattled molecules with an energy, a shortest distance and a dipole of point charges."""
    rng = np.random.default_rng(seed)
    made = []
    for name in names:
        for _ in range(count):
            atoms = molecule(name)
            atoms.rattle(0.08, rng=rng)
            distances = atoms.get_all_distances()
            pairs = distances[distances > 0]
            charges = atoms.numbers - atoms.numbers.mean()
            atoms.info["energy_like"] = float(-10 * len(atoms) + np.exp(-pairs).sum())
            atoms.info["shortest"] = float(pairs.min())
            atoms.info["dipole_vector"] = charges @ atoms.positions
            made.append(atoms)
    return made


def property_file(path, atoms=None):
    write(path, frames() if atoms is None else atoms, format="extxyz")
    return str(path)
