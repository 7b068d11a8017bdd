"""What a training leaves in its folder while it runs: settings, log, TensorBoard events."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matkit.runs.atomic import write_atomically
from matkit.runs.yaml_text import dump_yaml

LOG, CONFIG, FACTS = "log.csv", "config.yaml", "facts.yaml"


def write_settings(folder: Path, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write the resolved options, fit to be used again, and what was found out about the data."""
    for name, content in ((CONFIG, settings), (FACTS, facts)):
        write_atomically(folder / name, dump_yaml(dict(content)).encode())


class Log:
    """Rows of numbers as CSV and, where tensorboard is installed, as its events.

    Args:
        folder: Folder of ``log.csv`` and of the event files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def write(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write all rows so far; only the last one is new."""
        write_atomically(self.folder / LOG, _csv(rows).encode())
        if importlib.util.find_spec("tensorboard") is None:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # A run that goes on hides what an interrupted one wrote beyond its checkpoint.
            last = int(rows[-1]["step"])
            self._writer = SummaryWriter(str(self.folder), purge_step=last)
        for name, value in rows[-1].items():
            kind, _, rest = name.partition("_")
            tag = f"{kind}/{rest}" if rest else name
            self._writer.add_scalar(tag, value, int(rows[-1]["step"]))
        self._writer.flush()


def _csv(rows: Sequence[Mapping[str, float]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
