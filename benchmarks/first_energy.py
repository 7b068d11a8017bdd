"""Seconds from the start of a new process to its first energy, 216 atoms of NaCl.

python benchmarks/first_energy.py sevennet-0
"""

import time

BEGIN = time.perf_counter()

import sys  # noqa: E402

from ase.build import bulk  # noqa: E402

import matkit  # noqa: E402

atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(3)
atoms.calc = matkit.load_calculator(sys.argv[1])
loaded = time.perf_counter() - BEGIN
atoms.get_potential_energy()
print(f"loaded after {loaded:.2f} s, first energy after {time.perf_counter() - BEGIN:.2f} s")
