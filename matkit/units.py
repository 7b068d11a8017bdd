"""Unit conversions; inside matkit everything is eV, Å, eV/Å, eV/Å³, fs and K.

Values: CODATA 2018 (exact SI definitions where they exist).
"""

ELEMENTARY_CHARGE = 1.602176634e-19  # J per eV
GPA = 1e-21 / ELEMENTARY_CHARGE  # eV/Å³ per GPa: 1e9 Pa * 1e-30 m³ / e
BOLTZMANN = 1.380649e-23 / ELEMENTARY_CHARGE  # eV/K
BOHR = 0.529177210903  # Å
HARTREE = 27.211386245988  # eV
MOLE = 6.02214076e23
KCAL_PER_MOL = 4184 / (MOLE * ELEMENTARY_CHARGE)  # eV
KJ_PER_MOL = 1000 / (MOLE * ELEMENTARY_CHARGE)  # eV
