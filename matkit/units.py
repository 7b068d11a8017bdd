"""Unit conversions; inside matkit everything is eV, Å, eV/Å, eV/Å³, fs and K.

Values: CODATA 2018 (exact SI definitions where they exist).
"""

ELEMENTARY_CHARGE = 1.602176634e-19  # J per eV
GPA = 1e-21 / ELEMENTARY_CHARGE  # eV/Å³ per GPa: 1e9 Pa * 1e-30 m³ / e
BOLTZMANN = 1.380649e-23 / ELEMENTARY_CHARGE  # eV/K
