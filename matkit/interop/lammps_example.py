"""A script that runs LAMMPS with matkit, and its data file, for users to adapt."""

from __future__ import annotations

import io
import json
from pathlib import Path

from ase import Atoms
from ase.build import bulk
from ase.io.lammpsdata import write_lammps_data

from matkit.runs.atomic import write_atomically
from matkit.runs.text_files import refuse_existing

SCRIPT, DATA = "run_lammps.py", "structure.data"
# Room around molecules and slabs in the box that LAMMPS always has, Å.
VACUUM = 10.0
TEMPLATE = '''\
"""Molecular dynamics of {formula} in LAMMPS, with forces of matkit."""

from pathlib import Path

from matkit import load_calculator
from matkit.interop.lammps import attach, start_lammps

folder = Path(__file__).parent
lmp = start_lammps(["-log", str(folder / "log.lammps")])
lmp.commands_string(f"""
units metal
boundary {boundary}
box tilt large
read_data "{{folder / "{data}"}}"
""")

# One element for each atom type of the data file, and no pair_style: all forces are matkit's.
attach(lmp, load_calculator({model}), elements={elements})

lmp.commands_string(f"""
timestep 0.001
velocity all create 300 1 mom yes rot yes
fix integrate all nvt temp 300 300 0.1
thermo_style custom step temp pe etotal press vol
thermo 10
dump trajectory all custom 10 "{{folder / "dump.lammpstrj"}}" id type x y z
run 100
""")
lmp.close()
'''


def lammps_example(
    atoms: Atoms | None, folder: str | Path, model: str, overwrite: bool = False
) -> list[Path]:
    """Write a script and a data file, and return their paths.

    Args:
        atoms: Structure; 216 atoms of rock salt if not given.
        folder: Where to write.
        model: What the script loads.
        overwrite: Replace files that are there.

    Raises:
        OutputExistsError: there are such files.
    """
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(3) if atoms is None else atoms
    paths = [Path(folder) / name for name in (SCRIPT, DATA)]
    if not overwrite:
        refuse_existing(paths)
    elements = sorted(set(atoms.symbols))
    script = TEMPLATE.format(
        formula=atoms.get_chemical_formula(),
        boundary=" ".join("p" if periodic else "f" for periodic in atoms.pbc),
        data=DATA,
        model=json.dumps(model),
        elements=json.dumps(elements),
    )
    contents = (script, _data(atoms, elements))
    return [write_atomically(p, text.encode()) for p, text in zip(paths, contents, strict=True)]


def _data(atoms: Atoms, elements: list[str]) -> str:
    """Return the data file; LAMMPS's cells are lower triangles, so the structure is turned."""
    boxed = atoms.copy()
    boxed.center(vacuum=VACUUM, axis=[axis for axis in range(3) if not atoms.pbc[axis]])
    text = io.StringIO()
    write_lammps_data(text, boxed, specorder=elements, masses=True, units="metal")
    return text.getvalue()
