"""Small common crystals and molecules, on which fine-tuning shows what it has changed elsewhere.

They are built here, so that there is no file and no licence, and are a little away from rest, so
that there are forces. Their labels are what the model to start from predicts: the errors of the
result are how far it has moved.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule

from matkit.data.ase import from_ase
from matkit.data.dataset import Dataset
from matkit.data.labels import LabelCount, LabelReport
from matkit.derivatives import ForceField
from matkit.evaluator import predict

# Lattice constants in Å: a of cubic and hexagonal crystals.
ELEMENTS = {
    "Al": 4.05,
    "Cu": 3.61,
    "Ni": 3.52,
    "Ag": 4.09,
    "Au": 4.08,
    "Pt": 3.92,
    "Pb": 4.95,
    "Li": 3.49,
    "Na": 4.23,
    "Fe": 2.87,
    "W": 3.16,
    "Mg": 3.21,
    "Ti": 2.95,
    "Zn": 2.66,
    "C": 3.57,
    "Si": 5.43,
    "Ge": 5.66,
}
COMPOUNDS = {
    "rocksalt": {"NaCl": 5.64, "MgO": 4.21, "LiF": 4.03, "KBr": 6.6, "TiN": 4.24, "PbS": 5.94},
    "zincblende": {"GaAs": 5.65, "ZnS": 5.41, "BN": 3.62, "InP": 5.87, "SiC": 4.36},
    "cesiumchloride": {"CsCl": 4.12, "NiAl": 2.89},
    "fluorite": {"CaF2": 5.46, "CeO2": 5.41, "ZrO2": 5.09},
}
MOLECULES = ("H2O", "CH4", "NH3", "CO2", "C2H4", "CH3OH", "C6H6", "HCN")
# Å, and the part by which cells are stretched.
RATTLE, STRAIN = 0.06, 0.01


def common_structures(species: Collection[int]) -> list[Atoms]:
    """Return those whose elements are all among `species`."""
    made = [bulk(symbol, a=a) for symbol, a in ELEMENTS.items()]
    for kind, crystals in COMPOUNDS.items():
        made += [bulk(formula, kind, a=a) for formula, a in crystals.items()]
    made += [molecule(name) for name in MOLECULES]
    for seed, atoms in enumerate(made):
        rng = np.random.default_rng(seed)
        if atoms.pbc.all():
            atoms.set_cell(atoms.cell * (1 + STRAIN * rng.normal()), scale_atoms=True)
        atoms.positions += RATTLE * rng.normal(size=atoms.positions.shape)
    return [atoms for atoms in made if set(atoms.numbers.tolist()) <= set(species)]


def as_predicted(model: ForceField) -> Dataset | None:
    """Return the structures that a model knows, with its predictions; None if it knows none."""
    frames = common_structures(model.species)
    if not frames:
        return None
    structures = from_ase(frames)
    labels = predict(model, structures)
    structures = structures.replace(
        system={"energy": labels["energy"], "stress": labels["stress"]},
        atom={"forces": labels["forces"]},
    )
    names = tuple(str(atoms.symbols) for atoms in frames)
    where = LabelCount("predictions of the model to start from", len(frames))
    report = LabelReport(len(frames), where, where, where)
    kinds = tuple("crystal" if atoms.pbc.all() else "molecule" for atoms in frames)
    return Dataset(structures, kinds, names, tuple(f"common[{name}]" for name in names), report)
