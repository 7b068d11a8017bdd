"""``matkit evaluate molecules``."""

from __future__ import annotations

from functools import partial

from matkit.cli.display import Display
from matkit.cli.progress import campaign
from matkit.evaluate.scores import score_lines
from matkit.molecules.api import evaluate_files
from matkit.molecules.options import MoleculeScoreOptions

OK, NOTHING_USABLE = 0, 1


def run_molecules(options: MoleculeScoreOptions, display: Display) -> int:
    """Judge generated molecules and write what was found.

    Returns:
        Exit code: 1 if no molecule could be read.

    Raises:
        ConfigError: what is asked for is impossible.
    """
    report = evaluate_files(options, watch=partial(campaign, display), note=display.note)
    for line in score_lines(report.evaluation.scores):
        display.result(line)
    display.document(report.metrics)
    display.note(f"Wrote {', '.join(map(str, report.files.values()))}")
    counts = report.metrics["counts"]
    return OK if counts["not_read"] < counts["entries"] else NOTHING_USABLE
