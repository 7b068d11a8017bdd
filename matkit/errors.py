"""Every error a user can cause, with a message that says what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MatkitError(Exception):
    """Base class: catch this to catch everything matkit raises on purpose."""


class StructureError(MatkitError, ValueError):
    """A structure cannot be used: empty, not finite, or with an impossible cell."""


class UnknownElementError(StructureError):
    """A structure holds an element the model was not made for."""


class IgnoredConditionError(StructureError):
    """A structure has a charge or multiplicity that the model would leave out of account."""


class UnknownNameError(MatkitError, LookupError):
    """A model, option or property was asked for by a name nobody knows."""


class MissingExtraError(MatkitError, ImportError):
    """An optional package is needed; the message gives the pip command."""


class CheckpointError(MatkitError, ValueError):
    """A model file is missing, damaged, foreign, unsafe or too new."""


class ModelError(MatkitError, TypeError):
    """A model does not return what it declares, or not what a task needs."""


class ConfigError(MatkitError, ValueError):
    """A configuration has an unknown key or a value out of range."""


class DataError(MatkitError, ValueError):
    """Labelled structures cannot be used: unreadable, mislabelled, or not to be split as asked."""


class OutputExistsError(MatkitError, FileExistsError):
    """A result file is already there and overwriting was not asked for."""


class SimulationError(MatkitError, RuntimeError):
    """A simulation cannot go on: not a number, exploding, or atoms too close."""


class TrainingError(MatkitError, RuntimeError):
    """Training cannot go on: labels missing, losses not finite, or nothing to learn from."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return a sentence with the nearest legal name and the list of all of them."""
    legal = sorted(options)
    near = difflib.get_close_matches(name, legal, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Known: {', '.join(legal) if legal else 'none'}."
