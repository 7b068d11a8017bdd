"""Small molecules, and files of them as other programs write them."""

import zipfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule

from matkit.builders.smiles import rdkit
from matkit.interfaces import Generator
from matkit.models import checkpoint
from matkit.molecules.perception import perceive

HEADER = (
    "XYZ_file,Index,SMILES,InChi,N_atoms,Stoichiometry,Elements,XYZ_Ang,Dipole_debye,"
    "Polarizability_bohr3,HOMO_LUMO_gap_au\n"
)


def perceived(atoms: Atoms, charge: int = 0):
    """RDKit's molecule of ASE's atoms."""
    return perceive(atoms.numbers, atoms.positions, charge)


def sdf_file(path: Path, *names: str) -> Path:
    """An SDF of ASE's molecules with one property."""
    chem = rdkit()
    with chem.SDWriter(str(path)) as writer:
        for number, name in enumerate(names):
            one = perceived(molecule(name))
            one.SetProp("gap", str(1.5 + number))
            writer.write(one)
    return path


def qm9_file(
    path: Path, rows: dict[int, Atoms], member: str = "qm9pack/data/qm9_part1.csv"
) -> Path:
    """A wheel with molecules by their numbers in QM9."""
    lines = [HEADER]
    for index, atoms in rows.items():
        symbols = ",".join(f"'{symbol}'" for symbol in atoms.symbols)
        places = np.array2string(atoms.positions, separator=",").replace("\n", "").replace(" ", "")
        lines.append(
            f'"dsgdb9nsd_{index:06}.xyz",{index},"C","InChI=1S",{len(atoms)},"[1]","[{symbols}]",'
            f'"{places}",0.,13.21,0.5\n'
        )
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(member, "".join(lines))
        wheel.writestr("qm9pack/data/qm9_polarizability.csv", "XYZ_file\n")
    return path


def tiny_generator(folder: Path) -> str:
    """The file of an untrained generator."""
    card = {"n_atoms": {"3": 1, "6": 3}, "properties": {"gap": {"min": 1.0, "max": 9.0}}}
    size = {"width": 16, "pair_width": 8, "points": 2, "heads": 2, "layers": 1}
    kinds = {"species": [1, 6, 8], "charges": [0], "orders": [1.0, 1.5, 2.0]}
    given = {**size, **kinds, "max_atoms": 9, "properties": {"gap": (5.0, 1.0)}}
    generator = checkpoint.build("moleculeflow", given, Generator)
    return str(checkpoint.save(generator, folder / "model.safetensors", card))
