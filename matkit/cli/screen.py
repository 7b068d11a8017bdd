"""``matkit screen``."""

from __future__ import annotations

from functools import partial

from matkit.cli.display import Display, first_line
from matkit.cli.label import report_failures
from matkit.cli.progress import campaign
from matkit.options import PRECISION
from matkit.report.tables import as_text, shown
from matkit.screen.api import screen
from matkit.screen.options import ScreenOptions
from matkit.screen.verdicts import Screening

OK, SOME_FAILED = 0, 1
# Candidates that are printed; all are in the table.
MOST_ROWS = 10
COLUMNS = ("rank", "candidate", "formula", "energy_per_atom", "above_hull", "verdict")


def run_screen(options: ScreenOptions, display: Display) -> int:
    """Screen candidates.

    Returns:
        Exit code: 1 if some candidates failed.

    Raises:
        ConfigError: what is asked for is impossible.
    """
    display.note(first_line(options.model, PRECISION, options.device, options.out))
    found = screen(options, watch=partial(campaign, display), note=display.note)
    _report(found, options, display)
    return SOME_FAILED if found.failed else OK


def _report(found: Screening, options: ScreenOptions, display: Display) -> None:
    best = [row for row in found.rows if row["rank"] is not None][:MOST_ROWS]
    if best:
        cells = [[shown(row.get(name)) for name in COLUMNS] for row in best]
        display.result(as_text([[name.replace("_", " ") for name in COLUMNS], *cells]))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in found.counts.items())
    display.result(f"{len(found.rows)} candidates: {counts}")
    report_failures(tuple(found.failed), found.files["table"].name, display)
    display.document(found.document)
    display.note(f"Wrote {options.out}: {', '.join(path.name for path in found.files.values())}")
