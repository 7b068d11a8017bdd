"""Small folders of Hessians, from a pair potential."""

from pathlib import Path

from ase.build import molecule
from ase.calculators.morse import MorsePotential
from ase.io import write

from matkit.label import LabellingOptions, label

TINY_HIP = {
    "name": "hip",
    "backbone": {
        "name": "facet",
        "irreps": ["8x0e", "8x0e+8x1o+8x2e", "8x0e+8x1o+8x2e", "8x0e"],
        "cutoff": 4.0,
        "residual_init": 0.5,
    },
    "channels": 4,
    "basis_size": 6,
}


def morse() -> MorsePotential:
    """Atoms of all kinds attract each other, smoothly cut off."""
    return MorsePotential(epsilon=0.5, rho0=3.0, r0=1.0, rcut1=3.0, rcut2=4.0)


def hessian_folder(folder: Path, count: int, seed: int = 0, hessian: bool = True) -> str:
    """Label rattled molecules of three and four atoms."""
    made = []
    for i in range(count):
        atoms = molecule(("H2O", "H2O2", "O3")[i % 3])
        atoms.rattle(0.05, seed=1000 * seed + i)
        made.append(atoms)
    folder.parent.mkdir(parents=True, exist_ok=True)
    write(folder.with_suffix(".xyz"), made)
    options = LabellingOptions(
        calculator="tests.train.hessian_labels:morse",
        hessian="finite-difference" if hessian else None,
    )
    label(folder.with_suffix(".xyz"), folder, options)
    return str(folder)
