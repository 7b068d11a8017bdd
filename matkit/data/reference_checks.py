"""What energies are measured from, and which ones stick out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from matkit.data.dataset import Dataset
from matkit.data.findings import Finding, examples
from matkit.data.fingerprints import Array
from matkit.data.references import ABSURD, ReferenceFit, fit_references, residuals
from matkit.elements import SYMBOLS

# A residual is an outlier beyond so many median deviations, and so many eV/atom.
OUTLIER, LEAST_OUTLIER = 10.0, 1.0
# Spread of residuals in eV/atom that no chemistry has.
LARGE_SPREAD = 5.0
# Energies of isolated atoms of one element that differ by more are not of one calculation, in eV.
EQUAL_ATOMS = 1e-3


def check_references(dataset: Dataset) -> tuple[list[Finding], ReferenceFit | None]:
    """Fit reference energies and look at what they leave.

    Returns:
        Findings, and the fit to structures that are no isolated atoms, if there are energies.
    """
    bonded = dataset.without_isolated()
    energies = bonded.structures.system["energy"]
    if not bool(energies.isfinite().any()):
        return [], None
    fit = fit_references(bonded, energies)
    rest = fit.residuals.numpy()
    table = ", ".join(f"{SYMBOLS[z]} {energy:.4f}" for z, energy in fit.e0s.items())
    spread = float(np.nanstd(rest))
    message = f"fitted E0 in eV: {table}; what is left has a deviation of {spread:.3f} eV/atom"
    if not fit.determined:
        message += " (the compositions determine the sums only, not each element)"
    findings = [Finding("note", "reference energies", message)]
    if spread > LARGE_SPREAD:
        text = f"energies deviate by {spread:.1f} eV/atom from any sum of reference energies"
        fix = "several levels of theory are mixed, or the energies are not in eV: separate them"
        findings.append(Finding("problem", "reference energies", text, fix))
    findings += _outliers(bonded, rest) + _several(dataset) + _isolated(dataset, bonded)
    return findings, fit


def _outliers(dataset: Dataset, rest: Array) -> list[Finding]:
    offset = np.abs(rest - np.nanmedian(rest))
    limit = max(OUTLIER * 1.4826 * float(np.nanmedian(offset)), LEAST_OUTLIER)
    far = sorted(np.flatnonzero(offset > limit).tolist(), key=lambda i: -offset[i])
    if not far:
        return []
    named = examples([dataset.sources[i] for i in far], [f"{rest[i]:+.2f}" for i in far])
    message = (
        f"energies of {len(far)} structures are more than {limit:.2f} eV/atom off the reference "
        f"energies: {named}"
    )
    fix = "look at them: unconverged, another level of theory, or very unlike structures"
    return [Finding("warning", "energy outliers", message, fix)]


def _several(dataset: Dataset) -> list[Finding]:
    """Find isolated atoms of one element with different energies, of which only one can count."""
    structures = dataset.structures
    energies: dict[int, list[float]] = {}
    for i in dataset.isolated_indices():
        energy = float(structures.system["energy"][i])
        if energy == energy:
            energies.setdefault(int(structures.species[structures.offsets[i]]), []).append(energy)
    apart = {z: e for z, e in energies.items() if max(e) - min(e) > EQUAL_ATOMS}
    if not apart:
        return []
    table = ", ".join(f"{SYMBOLS[z]} {min(e):.4f} to {max(e):.4f} eV" for z, e in apart.items())
    message = f"isolated atoms of one element have different energies: {table}"
    return [Finding("problem", "isolated atoms", message, "keep one of each, or --E0s TABLE")]


def _isolated(dataset: Dataset, bonded: Dataset) -> list[Finding]:
    e0s: Mapping[int, float] = dataset.isolated()
    if not e0s or not set(bonded.structures.species.tolist()) <= e0s.keys():
        return []
    rest = residuals(bonded, e0s)
    off = int((rest.abs() > ABSURD).sum())
    median = float(rest.nanmedian())
    text = f"energies minus isolated atoms: {median:.3f} eV/atom in the median"
    if not off:
        return [Finding("fine", "isolated atoms", text)]
    message = f"{text}; {off} structures are more than {ABSURD:.0f} eV/atom away"
    return [Finding("problem", "isolated atoms", message, "--E0s fit, or correct the atoms")]
