"""``matkit generate crystal``."""

from __future__ import annotations

from functools import partial

from matkit.cli.display import Display
from matkit.cli.label import progress
from matkit.crystals.writing import score_lines
from matkit.generate.api import generate
from matkit.generate.folder import paths_of
from matkit.generate.options import CrystalOptions
from matkit.generate.run import Batch

OK, NONE_GENERATED = 0, 1


def run_generate(options: CrystalOptions, display: Display) -> int:
    """Generate crystals and write what they are like.

    Returns:
        Exit code: 1 if there are no crystals.

    Raises:
        ConfigError: what is asked for is impossible.
        UnknownNameError: there is no such model, or none is named and none comes with matkit.
        CheckpointError: the model cannot be read.
    """
    batch = generate(options, watch=partial(progress, display), note=display.note)
    _show(batch, display)
    names = ", ".join(path.name for path in paths_of(options).values())
    display.note(f"Wrote {options.out}: {names}")
    return OK if batch.generated else NONE_GENERATED


def _show(batch: Batch, display: Display) -> None:
    if batch.evaluation is not None:
        for line in score_lines(batch.evaluation.scores):
            display.result(line)
    for name, value in batch.metrics["counts"].items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        display.result(f"{name.replace('_', ' ')}: {text}")
    display.document(batch.metrics)
