"""What a user sees while a command runs: notes, results, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

# Letters of a model's path that are shown; the whole is in the summary.
MOST_LETTERS = 40
# Remarks of one kind that are printed.
MOST = 5


class _Console(Console):
    """A console that leaves it to us what a closed pipe means; rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Let the error through."""
        raise BrokenPipeError


def first_line(model: str, dtype: str, device: str, out: str) -> str:
    """Return with what a command computes, how precisely, and where its results go."""
    return f"{_short(model)}, {dtype} on {device}; results in {out}"


class Display:
    """Where messages go: results to stdout, everything else to stderr.

    Args:
        as_json: Print one JSON document to stdout and nothing else there.
        quiet: Print errors only.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet
        self._out = _Console(soft_wrap=True, highlight=False, markup=False)
        self._err = _Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

    @property
    def console(self) -> Console:
        """Where progress is shown."""
        return self._err

    @property
    def interactive(self) -> bool:
        """Whether a bar can be shown."""
        return self._err.is_terminal and not self.quiet

    def note(self, text: str) -> None:
        """Say something by the way."""
        if not self.quiet:
            self._print(self._err, text)

    def few(self, texts: Sequence[str]) -> None:
        """Say the first of many things by the way, and how many there are."""
        for text in texts[:MOST]:
            self.note(text)
        if len(texts) > MOST:
            self.note(f"... and {len(texts) - MOST} more")

    def result(self, text: str) -> None:
        """Print a result; with JSON it is in the document instead."""
        if not (self.quiet or self.as_json):
            self._print(self._out, text)

    def document(self, content: Mapping[str, Any]) -> None:
        """Print the JSON document, if asked for."""
        if self.as_json:
            text = json.dumps(content, indent=2, allow_nan=False)
            self._print(self._out, text, overflow="ignore")

    def error(self, text: str) -> None:
        """Print an error."""
        self._print(self._err, f"Error: {text}", style="red")

    def _print(self, console: Console, text: str, **how: Any) -> None:
        """Print; a terminal or pipe that was closed, or a full disk behind it, ends no run."""
        with suppress(OSError):
            console.print(text, **how)


def _short(path: str) -> str:
    """Return the end of a long path, from a folder or a file's name on."""
    parts = Path(path).parts
    if len(path) <= MOST_LETTERS or len(parts) < 2:
        return path
    both = ".../" + "/".join(parts[-2:])
    return both if len(both) <= MOST_LETTERS else f".../{parts[-1]}"
