"""QM9 with its twelve scalar properties, without its held-out molecules."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from matkit.molecules.cached import Arrays, cached_arrays, unpack_together
from matkit.molecules.qm9 import LABELS, read_qm9_labels
from matkit.molecules.reading import packed_molecules
from matkit.nn.scatter import scatter_sum
from matkit.properties.entries import PropertyEntries

# Chemical accuracy of each property (Faber et al. 2017), in its unit.
ACCURACY = {
    "mu": 0.1,
    "alpha": 0.1,
    "r2": 1.2,
    "zpve": 0.0012,
    "cv": 0.05,
    **dict.fromkeys(("homo", "lumo", "gap", "u0", "u298", "h298", "g298"), 0.043),
}


def read_labelled_qm9(path: Path) -> PropertyEntries:
    """Return the molecules of the wheel with bonds, SMILES and `LABELS`.

    All is kept in the cache. Molecules of which no bonds are found are left out.

    Raises:
        DataError: the file is damaged, or another one.
    """
    packed = packed_molecules(path)
    which, structures = unpack_together(packed)
    formal = structures.atom["formal_charge"].double()
    charge = scatter_sum(formal, structures.batch, len(structures))
    structures = structures.replace(system={"charge": charge})
    labels = cached_arrays(path, "labels", lambda: _labels(path))
    place = {int(index): k for k, index in enumerate(labels["index"])}
    sources = [str(source) for source in packed["sources"]]
    rows = [place[_number(sources[i])] for i in which]
    out = sorted(set(range(len(sources))) - set(which))
    return PropertyEntries(
        structures,
        tuple(sources[i] for i in which),
        tuple(labels["smiles"][rows].tolist()),
        {name: labels["values"][rows, k].tolist() for k, name in enumerate(LABELS)},
        tuple(f"{sources[i]} ({packed['reasons'][i]})" for i in out),
    )


def _labels(path: Path) -> Arrays:
    indices, smiles, values = zip(*read_qm9_labels(path), strict=True)
    return {
        "index": np.array(indices),
        "smiles": np.array(smiles, dtype=str),
        "values": np.array(values),
    }


def _number(source: str) -> int:
    return int(source.removeprefix("QM9[").removesuffix("]"))
