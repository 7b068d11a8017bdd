"""Equation of state of a crystal with the default potential: volume and bulk modulus."""

from ase.build import bulk

from matkit import eos
from matkit.units import GPA

fit = eos(bulk("Cu"), compress=0.06, expand=0.06, points=7).fit
print(
    f"V = {fit.volume:.2f} Å³, E = {fit.energy:.3f} eV, B = {fit.bulk_modulus / GPA:.0f} GPa, "
    f"B' = {fit.derivative:.1f}"
)
