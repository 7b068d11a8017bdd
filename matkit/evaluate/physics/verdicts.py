"""What a check found, and the bounds it is judged by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from matkit.report.tables import number

Verdict = Literal["pass", "fail", "skipped"]


@dataclass(frozen=True)
class Measure:
    """One number and its bounds.

    Attributes:
        name: What it is.
        value: Its value.
        unit: Unit, or nothing.
        low: Lowest value that passes.
        high: Highest value that passes.
    """

    name: str
    value: float
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf

    @property
    def passes(self) -> bool:
        """Whether it is within its bounds, which what is not a number never is."""
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        """Return e.g. ``lowest frequency 1.3 THz (≥ -0.1)``."""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name} {number(self.value)}{unit} ({self._bounds()})"

    def _bounds(self) -> str:
        if self.low == self.high:
            return f"= {number(self.low)}"
        if self.high == math.inf:
            return f"≥ {number(self.low)}"
        if self.low == -math.inf:
            return f"≤ {number(self.high)}"
        return f"{number(self.low)} to {number(self.high)}"

    def document(self) -> dict[str, Any]:
        """Return it fit for JSON; bounds that are none are null."""
        return {**vars(self), "passes": self.passes}


@dataclass(frozen=True)
class PhysicsCheck:
    """One check of one structure or pair of elements.

    Attributes:
        kind: Such as `equation of state`.
        subject: What was looked at.
        measures: Numbers it is judged by.
        facts: What else was found, curves among it.
        failure: Why it could not be carried through, which counts as a failure of the model.
        skipped: Why it was left out, which does not.
    """

    kind: str
    subject: str
    measures: Sequence[Measure] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    failure: str = ""
    skipped: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether everything is within its bounds."""
        if self.skipped:
            return "skipped"
        return "fail" if self.failure or not all(m.passes for m in self.measures) else "pass"

    def reason(self) -> str:
        """Return the numbers with their bounds, those that fail alone if any do."""
        if self.skipped or self.failure:
            return self.skipped or self.failure
        failed = [measure for measure in self.measures if not measure.passes]
        return "; ".join(map(str, failed or self.measures))

    def document(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "verdict": self.verdict,
            "reason": self.reason(),
            "measures": [measure.document() for measure in self.measures],
            **self.facts,
        }


def table_of(checks: Sequence[PhysicsCheck]) -> list[list[str]]:
    """Return one row for each check, and a row of headings."""
    rows = [[check.kind, check.subject, check.verdict, check.reason()] for check in checks]
    return [["check", "of", "verdict", "numbers"], *rows]


def tally(checks: Sequence[PhysicsCheck]) -> dict[Verdict, int]:
    """Return how many checks there are of each verdict."""
    verdicts = [check.verdict for check in checks]
    return {verdict: verdicts.count(verdict) for verdict in ("pass", "fail", "skipped")}
