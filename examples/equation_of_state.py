"""Equation of state of a crystal with the default potential: volume and bulk modulus."""

import numpy as np
from ase.build import bulk
from ase.eos import EquationOfState
from ase.units import GPa

from matkit import relax, singlepoint

relaxed = relax(bulk("Cu"), relax_cell=True).atoms
volumes, energies = [], []
for strain in np.linspace(-0.02, 0.02, 7):
    atoms = relaxed.copy()
    atoms.set_cell((1 + strain) * relaxed.cell, scale_atoms=True)
    volumes.append(atoms.get_volume())
    energies.append(singlepoint(atoms).energy)
volume, energy, modulus = EquationOfState(volumes, energies).fit()
print(f"V = {volume:.2f} Å³, E = {energy:.3f} eV, B = {modulus / GPa:.0f} GPa")
