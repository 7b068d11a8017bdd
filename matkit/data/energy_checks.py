"""Energies that are none: placeholders, rounded ones, energies per atom."""

from __future__ import annotations

import numpy as np
import torch

from matkit.data.dataset import Dataset
from matkit.data.findings import Finding, examples
from matkit.data.fingerprints import Array, Index
from matkit.data.references import compositions

# Energies of this part of all structures that are equal to the last digit are no energies.
MANY_EQUAL = 0.5
FEWEST = 3
# Resolution of energies per atom that is worth a word, and that is worth a refusal, in eV.
COARSE, TOO_COARSE = 1e-4, 1e-3
# A mean energy fits so many times better than a sum over atoms if energies are per atom ...
MUCH_BETTER = 5.0
# ... and the numbers of atoms differ by such a factor.
UNLIKE_SIZES = 1.3


def check_energies(dataset: Dataset) -> list[Finding]:
    """Check that energies are computed, exact enough and total."""
    bonded = dataset.without_isolated()
    energies = bonded.structures.system["energy"].numpy()
    which = np.flatnonzero(np.isfinite(energies))
    if not len(which):
        return []
    placeholders = _zero(bonded, energies, which) or _equal(bonded, energies, which)
    return placeholders or [*_rounded(bonded, energies, which), *_per_atom(bonded, which)]


def _zero(dataset: Dataset, energies: Array, which: Index) -> list[Finding]:
    zero = which[energies[which] == 0].tolist()
    if not zero:
        return []
    named = examples([dataset.sources[i] for i in zero])
    message = f"{len(zero)} of {len(which)} energies are exactly zero, which none is: {named}"
    if len(zero) == 1 < len(which):
        # The lowest one may be where energies are counted from.
        return [Finding("warning", "placeholder energies", message, "take it out if it is none")]
    fix = "take them out, and train with --energy-weight 0 if there are no energies"
    return [Finding("problem", "placeholder energies", message, fix)]


def _equal(dataset: Dataset, energies: Array, which: Index) -> list[Finding]:
    """Find one energy that many different structures have."""
    values, counts = np.unique(energies[which], return_counts=True)
    most = int(counts.argmax())
    same = which[energies[which] == values[most]].tolist()
    structures = dataset.structures
    shapes = {
        structures.positions[structures.offsets[i] : structures.offsets[i + 1]].numpy().tobytes()
        + structures.cell[i].numpy().tobytes()
        for i in same
    }
    if len(shapes) < max(FEWEST, MANY_EQUAL * len(which)):
        return []
    named = examples([dataset.sources[i] for i in same])
    message = f"{len(same)} different structures have the same energy, {values[most]:g} eV: {named}"
    fix = "these are placeholders: name the right key (--energy-key), or take them out"
    return [Finding("problem", "placeholder energies", message, fix)]


def _rounded(dataset: Dataset, energies: Array, which: Index) -> list[Finding]:
    """Find total energies that went through single precision."""
    values = energies[which]
    singles = values.astype(np.float32)
    short = np.array([float(str(single)) for single in singles])
    if len(values) < FEWEST or not ((singles == values) | (short == values)).all():
        return []
    step = np.spacing(np.abs(singles)) / dataset.structures.n_atoms.numpy()[which]
    typical = float(np.median(step))
    if typical < COARSE:
        return []
    message = (
        f"all energies have single precision (float32): they come in steps of {1000 * typical:.3g} "
        f"meV/atom, at energies of {np.median(values):.8g} eV"
    )
    fix = "write them in double precision, or subtract the atoms' energies before writing"
    severity = "problem" if typical >= TOO_COARSE else "warning"
    return [Finding(severity, "rounded energies", message, fix)]


def _per_atom(dataset: Dataset, which: Index) -> list[Finding]:
    """Find out whether energies are per atom: then they do not grow with the structure."""
    known = dataset.subset(which.tolist())
    sizes, energies = known.structures.n_atoms.double(), known.structures.system["energy"]
    if len(which) < FEWEST or sizes.max() < UNLIKE_SIZES * sizes.min():
        return []
    _, counts = compositions(known)
    as_total = _left(counts, energies)
    as_mean = _left(counts / sizes.unsqueeze(1), energies)
    if as_total < MUCH_BETTER * max(as_mean, 1e-3):
        return []
    message = (
        "energies do not grow with the number of atoms: they seem to be energies per atom (a sum "
        f"over atoms fits them to {as_total:.3g} eV, a mean to {as_mean:.3g} eV)"
    )
    fix = "--energy-unit eV/atom"
    return [Finding("problem", "energy per atom", message, fix)]


def _left(matrix: torch.Tensor, energies: torch.Tensor) -> float:
    """Return the root mean square of what a linear fit leaves of the energies, eV."""
    solution = torch.linalg.lstsq(matrix, energies.unsqueeze(1), driver="gelsd").solution
    return float((energies - (matrix @ solution)[:, 0]).square().mean().sqrt())
