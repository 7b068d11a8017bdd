"""``matkit models convert``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matkit.cli.display import Display
from matkit.elements import format_species
from matkit.models import checkpoint
from matkit.models.cards import NOT_STATED
from matkit.models.pickled import convert
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing


def run_convert(
    files: tuple[Path, Path],
    head: str | None,
    texts: Mapping[str, str | None],
    overwrite: bool,
    display: Display,
) -> int:
    """Convert a model file of another program and write it; the exit code is 0.

    Args:
        files: The other program's file, and the one to write.
        head: Name of the head to take, if there are several.
        texts: What the card says besides.
        overwrite: Whether a file that is there may be replaced.
        display: Where results go.

    Raises:
        OutputExistsError: the file is there and may not be replaced.
        CheckpointError, ConfigError: see `matkit.models.pickled.convert`.
    """
    path, out = files
    with alone(out.parent, out.name):
        if not overwrite:
            refuse_existing([out])
        network, card = convert(path, head)
        card |= {key: text for key, text in texts.items() if text is not None}
        checkpoint.save(network, out, card)
    parameters = sum(p.numel() for p in network.parameters())
    display.result(
        f"{path.name}, head {card['head']}: {parameters:,} parameters for "
        f"{format_species(network.species)}\nWritten to {out}"
    )
    if "licence" not in card:
        display.note(f"The card says of the licence: {NOT_STATED} (--licence).")
    display.document({"out": str(out), "parameters": parameters, "card": card})
    return 0
