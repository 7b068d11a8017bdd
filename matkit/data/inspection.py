"""The doctor of data: everything that can be known to go wrong before a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from matkit.data.checks import KnownElements, check_distances, check_elements
from matkit.data.dataset import Dataset
from matkit.data.duplicates import equal_pairs
from matkit.data.findings import SEVERITIES, Finding, examples
from matkit.data.fingerprints import Fingerprints, fingerprints
from matkit.data.sanity import judge_labels
from matkit.data.small_steps import near_pairs

__all__ = ["InspectionReport", "KnownElements", "inspect"]


@dataclass(frozen=True)
class InspectionReport:
    """Everything that was found.

    Attributes:
        findings: By data set, and for pairs of sets.
        e0s: Reference energies fitted to each set, eV by atomic number.
        residuals: What they leave, in eV/atom, NaN where there is no energy; isolated atoms are
            left out.
    """

    findings: Mapping[str, list[Finding]]
    e0s: Mapping[str, dict[int, float]]
    residuals: Mapping[str, list[float]]

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        worst = SEVERITIES[-1]
        return all(f.severity != worst for found in self.findings.values() for f in found)


def inspect(
    sets: Mapping[str, Dataset],
    known: KnownElements | None = None,
    faults: Mapping[str, list[str]] | None = None,
    near: float = 0.05,
    compared: Mapping[str, list[Finding]] | None = None,
) -> InspectionReport:
    """Examine data sets, each by itself and for structures that they share.

    Args:
        sets: Data sets by name, such as `train` and `test`.
        known: Elements of a model.
        faults: What was wrong with single structures when they were read, by set.
        near: Largest displacement in Å that makes structures of two sets near duplicates.
        compared: What a comparison with a model has found, by set.
    """
    findings, e0s, rest = {}, {}, {}
    prints: dict[str, tuple[Dataset, Fingerprints]] = {}
    for name, dataset in sets.items():
        found = [_fault(text) for text in (faults or {}).get(name, [])]
        bonded = dataset.without_isolated()
        prints[name] = bonded, fingerprints(bonded.structures)
        judged, fit = judge_labels(dataset)
        found += [_size(dataset), *judged, *(compared or {}).get(name, [])]
        if fit is not None:
            e0s[name], rest[name] = fit.e0s, fit.residuals.tolist()
        found += check_elements(dataset, known) if known else []
        found += check_distances(*prints[name]) + _copies(*prints[name])
        findings[name] = found
    for one, other in combinations(sets, 2):
        findings[f"{one} and {other}"] = _leakage(prints[one], prints[other], near)
    return InspectionReport(findings, e0s, rest)


def _fault(text: str) -> Finding:
    return Finding("problem", "unusable", text, "correct it, or take it out")


def _size(dataset: Dataset) -> Finding:
    counts = dataset.structures.n_atoms
    isolated = len(dataset.isolated_indices())
    message = (
        f"{len(dataset)} structures ({isolated} isolated atoms) of {int(counts.min())} to "
        f"{int(counts.max())} atoms, {len(set(dataset.formulas))} formulas, "
        f"{len(set(dataset.groups))} groups, config types: {', '.join(_kinds(dataset))}"
    )
    return Finding("note", "size", message)


def _kinds(dataset: Dataset) -> list[str]:
    kinds = list(dict.fromkeys(dataset.config_types))
    return [f"{kind} ({dataset.config_types.count(kind)})" for kind in kinds]


def _copies(dataset: Dataset, prints: Fingerprints) -> list[Finding]:
    pairs = equal_pairs(dataset.structures, prints, None, None)
    if not pairs:
        return [Finding("fine", "duplicates", "no structure comes twice")]
    named = examples([f"{dataset.sources[j]} = {dataset.sources[i]}" for i, j in pairs])
    energies = dataset.structures.system["energy"] / dataset.structures.n_atoms
    apart = [abs(float(energies[i] - energies[j])) for i, j in pairs]
    apart = [value for value in apart if value == value]
    message = f"{len(pairs)} structures come twice, up to rotation and order of atoms: {named}"
    if apart:
        message += f"; their energies differ by {1000 * max(apart):.3g} meV/atom at most"
    fix = "keep one of each, unless they should count twice"
    return [Finding("warning", "duplicates", message, fix)]


def _leakage(
    one: tuple[Dataset, Fingerprints], other: tuple[Dataset, Fingerprints], near: float
) -> list[Finding]:
    (a, prints), (b, others) = one, other
    equal = equal_pairs(a.structures, prints, b.structures, others)
    known = {j for _, j in equal}
    close = [pair for pair in near_pairs(a, b, near) if pair[1] not in known]
    findings = []
    if equal:
        named = examples([f"{b.sources[j]} = {a.sources[i]}" for i, j in equal])
        message = f"{len(equal)} structures are in both: {named}. Errors on them prove nothing"
        fix = "take them out of one set, split again (matkit data split), or --allow-leakage"
        findings.append(Finding("problem", "leakage", message, fix))
    if close:
        named = examples([f"{b.sources[j]} ~ {a.sources[i]}" for i, j in close])
        message = f"{len(close)} structures have atoms within {near} Å of one in the other: {named}"
        fix = "split by trajectory: matkit data split --by group --group-key KEY"
        findings.append(Finding("warning", "near duplicates", message, fix))
    return findings or [Finding("fine", "leakage", "no structure is in both")]
