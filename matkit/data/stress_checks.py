"""Unit and sign of stresses."""

from __future__ import annotations

import numpy as np

from matkit.data.consistency import Verdict, judge, strained_pairs
from matkit.data.dataset import Dataset, has_label
from matkit.data.findings import Finding
from matkit.data.labels import STRESS_UNITS
from matkit.units import GPA

# Half of all structures with a larger stress than this (160 GPa) is a wrong unit, or a planet.
LARGE = 1.0
# A trend of tension with volume needs so many structures of the same atoms, so many in all, and
# volumes that differ so much.
SMALLEST_GROUP, MIN_TREND, MIN_SPREAD = 4, 12, 0.003
MIN_CORRELATION = 0.5


def check_stress(dataset: Dataset) -> list[Finding]:
    """Check the stresses of a data set by energies, else by volumes and size."""
    stress = dataset.structures.system["stress"][has_label(dataset.structures, "stress")]
    if not len(stress):
        return [Finding("note", "stress", "no stresses to check")]
    findings = _asymmetry(stress.numpy())
    changes, works, volumes = strained_pairs(dataset)
    verdict = judge(changes, works, STRESS_UNITS)
    if mistaken := _virial(changes, works, volumes, verdict):
        return [*findings, mistaken]
    if verdict.unit is not None:
        return [*findings, *_by_energy(verdict)]
    return [*findings, _by_volume(dataset, verdict), _by_size(stress.numpy())]


def _virial(
    changes: list[float], works: list[float], volumes: list[float], verdict: Verdict
) -> Finding | None:
    """Find virials that are taken for stresses, and the other way round, by strained pairs.

    A virial W = -V stress that is read as a stress does -V times the work of one, where V is the
    volume of each pair, and no unit.
    """
    if verdict.unit == "eV/A3" and verdict.sign > 0:
        return None
    works_and_volumes = list(zip(works, volumes, strict=True))
    for what, key, corrected in (
        ("virials, not stresses", "--virials-key KEY", [-w / v for w, v in works_and_volumes]),
        ("stresses, not virials", "--stress-key KEY", [-w * v for w, v in works_and_volumes]),
    ):
        other = judge(changes, corrected, {"right": 1.0})
        if other.unit is not None and other.sign > 0 and other.deviation < verdict.deviation:
            text = (
                f"energies of {other.pairs} pairs that differ by a strain say that these are {what}"
            )
            return Finding("problem", "stress or virial", text, key)
    return None


def _by_energy(verdict: Verdict) -> list[Finding]:
    text = (
        f"energies of {verdict.pairs} pairs that differ by a strain are {verdict.ratio:.4g} times "
        "the work of the stress"
    )
    found = []
    if verdict.unit != "eV/A3":
        message = f"{text}: the stresses are in {verdict.unit}"
        found.append(Finding("problem", "stress unit", message, f"--stress-unit {verdict.unit}"))
    if verdict.sign < 0:
        message = f"{text}: the stresses have the wrong sign (positive in compression)"
        found.append(Finding("problem", "stress sign", message, "--stress-sign vasp"))
    return found or [Finding("fine", "stress unit and sign", text)]


def _by_volume(dataset: Dataset, verdict: Verdict) -> Finding:
    """Judge the sign: the same atoms in less space are under more pressure."""
    why = (
        "too few structures differ by a strain alone"
        if np.isnan(verdict.ratio)
        else f"energies of {verdict.pairs} strained pairs are {verdict.ratio:.3g} times the work "
        "of the stress, which fits no unit"
    )
    correlation, number = volume_trend(dataset)
    if number < MIN_TREND or abs(correlation) < MIN_CORRELATION:
        trend = f"the correlation of volume and tension is {correlation:.2f}" if number else ""
        trend = f" ({trend} in {number} structures)" if trend else ""
        return Finding("note", "stress sign", f"could not be decided: {why}{trend}")
    text = (
        f"{why}; volume and tension have a correlation of {correlation:.2f} ({number} structures)"
    )
    if correlation < 0:
        message = f"{text}: the stresses seem to have the wrong sign (positive in compression)"
        return Finding("problem", "stress sign", message, "--stress-sign vasp")
    return Finding("fine", "stress sign", f"probably right: {text}")


def volume_trend(dataset: Dataset) -> tuple[float, int]:
    """Return the correlation of volume and tension, tr(stress) / 3, and of how many structures.

    Only structures of the same atoms are compared.
    """
    structures = dataset.structures
    tension = structures.system["stress"].diagonal(dim1=1, dim2=2).mean(dim=1).numpy()
    volume = (structures.volume / structures.n_atoms).numpy()
    use = np.isfinite(tension) & structures.pbc.all(dim=1).numpy()
    members: dict[tuple[str, int], list[int]] = {}
    for i in np.flatnonzero(use).tolist():
        members.setdefault((dataset.formulas[i], int(structures.n_atoms[i])), []).append(i)
    pooled: list[np.ndarray] = []
    for which in members.values():
        both = np.column_stack([np.log(volume[which]), tension[which]])
        both -= both.mean(axis=0)
        spread = both.std(axis=0)
        if len(which) >= SMALLEST_GROUP and spread[0] > MIN_SPREAD and spread[1] > 0:
            pooled.append(both / spread)
    if not pooled:
        return 0.0, 0
    joined = np.concatenate(pooled)
    return float((joined[:, 0] * joined[:, 1]).mean()), len(joined)


def _by_size(stress: np.ndarray) -> Finding:
    typical = float(np.median(np.abs(stress).max(axis=(1, 2))))
    text = f"the median of the largest component is {typical:.3g} eV/Å³ ({typical / GPA:.3g} GPa)"
    if typical > LARGE:
        message = f"{text}, which only planets have: the unit is probably GPa or kbar"
        return Finding("warning", "stress unit", message, "--stress-unit GPa (or kbar)")
    return Finding("note", "stress unit", f"could not be decided, but looks usual: {text}")


def _asymmetry(stress: np.ndarray) -> list[Finding]:
    difference = np.abs(stress - stress.transpose(0, 2, 1)).max(axis=(1, 2))
    odd = difference > 0.01 * np.abs(stress).max(axis=(1, 2)) + 1e-4
    if not odd.any():
        return []
    message = f"{odd.sum()} stresses are not symmetric, by up to {difference.max():.3g} eV/Å³"
    fix = "check the order of the components: xx, yy, zz, yz, xz, xy, or 3x3"
    return [Finding("problem", "stress symmetry", message, fix)]
