"""``matkit generate``."""

from __future__ import annotations

from functools import partial

from matkit.cli.display import Display
from matkit.cli.progress import campaign
from matkit.generate.api import generate
from matkit.generate.batch import Batch
from matkit.generate.domains import room_of
from matkit.generate.folder import paths_of
from matkit.generate.options import GenerateOptions
from matkit.interfaces.generator import Domain

OK, NONE_GENERATED = 0, 1


def run_generate(options: GenerateOptions, domain: Domain, display: Display) -> int:
    """Generate structures of a domain and write what they are like.

    Returns:
        Exit code: 1 if there are no structures.

    Raises:
        ConfigError: what is asked for is impossible.
        UnknownNameError: there is no such model, or none is named and none comes with matkit.
        CheckpointError: the model cannot be read.
    """
    batch = generate(options, watch=partial(campaign, display), note=display.note)
    for line in room_of(domain).lines(batch):
        display.result(line)
    _show(batch, display)
    names = ", ".join(path.name for path in paths_of(options, batch.noun).values())
    display.note(f"Wrote {options.out}: {names}")
    return OK if batch.generated else NONE_GENERATED


def _show(batch: Batch, display: Display) -> None:
    for name, value in batch.metrics["counts"].items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        display.result(f"{name.replace('_', ' ')}: {text}")
    display.document(batch.metrics)
