"""Phonon bands and density of states of silicon, drawn into a figure.

Usage: python examples/phonons_of_silicon.py [FIGURE]
"""

import sys

from ase.build import bulk

from matkit import phonons
from matkit.phonons.figures import phonon_figure

figure = sys.argv[1] if len(sys.argv) > 1 else "silicon-phonons.png"
result = phonons(bulk("Si"), min_length=12.0)
phonon_figure(result).savefig(figure, dpi=75)
print(f"{result.reason}, supercell {result.supercell}, {len(result.imaginary)} imaginary modes")
