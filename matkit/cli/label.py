"""``matkit label``."""

from __future__ import annotations

from matkit.cli.display import Display, first_line
from matkit.cli.progress import campaign
from matkit.label.api import label
from matkit.label.options import XTB, LabelConfig
from matkit.label.run import Labelling

OK, SOME_FAILED = 0, 1
# Reasons that are printed; all are in the ledger.
MOST_REASONS = 5


def run_label(config: LabelConfig, display: Display) -> int:
    """Label structures.

    Returns:
        Exit code: 1 if some structures failed.

    Raises:
        ConfigError: no structures are named.
    """
    display.note(_introduction(config))
    with campaign(display, "labelling") as show:
        result = label(config, on_progress=show)
    _report(result, display)
    return SOME_FAILED if result.failed else OK


def _introduction(config: LabelConfig) -> str:
    if config.hamiltonian is not None:
        return f"{config.hamiltonian}; results in {config.out}"
    if config.calculator in XTB or ":" in config.calculator:  # precision and device are theirs
        return f"{config.calculator}; results in {config.out}"
    return first_line(config.calculator, config.precision, config.device, config.out)


def _report(result: Labelling, display: Display) -> None:
    display.result(
        f"{result.files.frames}: {result.done} labelled, {result.rejected} rejected, "
        f"{result.failed} failed"
    )
    if ignored := result.document["ignored"]:
        display.result(f"{ignored} with a charge or multiplicity that the model ignores")
    report_failures(result.reasons, result.files.ledger.name, display)
    display.document(result.document | {"out": str(result.files.frames)})


def report_failures(reasons: tuple[tuple[str, str], ...], ledger: str, display: Display) -> None:
    """Say which items failed, the first of them."""
    for source, reason in reasons[:MOST_REASONS]:
        display.note(f"failed: {source}: {reason}")
    if len(reasons) > MOST_REASONS:
        display.note(f"... and {len(reasons) - MOST_REASONS} more; all are in {ledger}")
