"""One judgement of labelled data for every command: inspection, training, evaluation.

What costs more than a pass over the labels (copies, distances) is left to `matkit.data.inspection`.
"""

from __future__ import annotations

from collections.abc import Sequence

from matkit.data.checks import check_forces, check_labels, check_lengths
from matkit.data.dataset import Dataset
from matkit.data.energy_checks import check_energies
from matkit.data.findings import SEVERITIES, Finding
from matkit.data.reference_checks import check_references
from matkit.data.references import ReferenceFit
from matkit.data.stress_checks import check_stress
from matkit.errors import DataError

# What is refused elsewhere: missing labels by their weights, charges by what a model makes of them.
REFUSED_ELSEWHERE = ("missing energy", "missing forces", "missing stress", "charges")


def judge_labels(dataset: Dataset) -> tuple[list[Finding], ReferenceFit | None]:
    """Return everything about the labels that can be found quickly.

    Returns:
        Findings, and the reference energies fitted on the way, if there are energies.
    """
    findings = [*check_labels(dataset), *check_energies(dataset), *check_forces(dataset)]
    findings += [*check_stress(dataset), *check_lengths(dataset)]
    referenced, fit = check_references(dataset)
    return findings + referenced, fit


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """Return what makes a data set unfit."""
    return [finding for finding in findings if finding.severity == SEVERITIES[-1]]


def refuse_problems(findings: Sequence[Finding], name: str, allow: bool) -> list[str]:
    """Refuse data with problems, but for those that are refused elsewhere.

    Args:
        findings: What was found.
        name: What the data are for, such as `training`.
        allow: Whether problems are told only.

    Returns:
        Problems that are allowed and warnings, one text each.

    Raises:
        DataError: there is a problem that is not allowed.
    """
    wrong = [finding for finding in problems(findings) if finding.check not in REFUSED_ELSEWHERE]
    if wrong and not allow:
        listed = "".join(f"\n  {text}" for text in map(told, wrong))
        raise DataError(
            f"The labels of the {name} set look wrong:{listed}\nMend them, or say --allow-problems "
            "to go on as they are; matkit data inspect shows all that was found."
        )
    warnings = [finding for finding in findings if finding.severity == "warning"]
    return [
        told(finding) for finding in (*wrong, *warnings) if finding.check not in REFUSED_ELSEWHERE
    ]


def told(finding: Finding) -> str:
    """Return a finding as one text."""
    fix = f" -> {finding.fix}" if finding.fix else ""
    return f"{finding.check}: {finding.message}{fix}"
