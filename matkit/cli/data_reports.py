"""What ``matkit data inspect`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matkit.data.findings import SEVERITIES, Finding
from matkit.data.inspection import InspectionReport
from matkit.data.labels import LabelReport
from matkit.elements import SYMBOLS


def report_lines(report: InspectionReport) -> Iterator[str]:
    """Give the lines of a report, the worst findings of each set first."""
    for name, findings in report.findings.items():
        yield f"{name}:"
        for finding in sorted(findings, key=lambda f: -SEVERITIES.index(f.severity)):
            yield from _lines(finding)
    counts = Counter(f.severity for some in report.findings.values() for f in some)
    texts = [f"{counts[severity]} {severity}s" for severity in ("problem", "warning")]
    yield f"{', '.join(texts)}. {'The data can be used.' if report.ok else 'Mend the problems.'}"


def report_document(
    report: InspectionReport, labels: Mapping[str, LabelReport], files: Sequence[Path]
) -> dict[str, Any]:
    """Return a report for JSON."""
    e0s = {
        name: {SYMBOLS[z]: energy for z, energy in table.items()}
        for name, table in report.e0s.items()
    }
    findings = {name: [asdict(f) for f in some] for name, some in report.findings.items()}
    return {
        "ok": report.ok,
        "findings": findings,
        "labels": {name: asdict(one) for name, one in labels.items()},
        "e0s": e0s,
        "files": [str(path) for path in files],
    }


def _lines(finding: Finding) -> Iterator[str]:
    yield f"  {finding.severity:8s} {finding.check}: {finding.message}"
    if finding.fix:
        yield f"           -> {finding.fix}"
