"""The steps of the chain: what one is, which there are, and in which order they may come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from matkit.errors import ConfigError, UnknownNameError, did_you_mean
from matkit.runs.items import Item, ItemResult
from matkit.screen.options import ScreenOptions

StepWork = Callable[[ScreenOptions, Sequence[Item]], list[ItemResult]]
# Modules with a `STEP`, by its name. A further step is a module and a line here.
STEPS = {
    "relax": "matkit.screen.relaxation",
    "dedupe": "matkit.screen.duplicates",
    "hull": "matkit.screen.hull",
    "phonons": "matkit.screen.lattice_dynamics",
    "elastic": "matkit.screen.elasticity",
}


def _nothing_to_check(_options: ScreenOptions, _items: Sequence[Item]) -> None:
    pass


@dataclass(frozen=True)
class Step:
    """One step: candidates go on, are rejected, or fail.

    Attributes:
        name: As in the option `steps`.
        work: Function of a module that returns what became of some candidates, whose contents are
            crystals: `done` with the frame that goes on, and facts for the table.
        columns: Names of these facts.
        verdict: On those that are rejected.
        after: Steps that must come before.
        options: Names of the options that results depend on, besides the model.
        check: Raises what is wrong before anything is computed.
        batched: Whether many candidates are computed at once.
        whole: Whether it sees all candidates at once, in this process.
    """

    name: str
    work: StepWork
    columns: tuple[str, ...]
    verdict: str = ""
    after: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    check: Callable[[ScreenOptions, Sequence[Item]], None] = _nothing_to_check
    batched: bool = False
    whole: bool = False


def chain(options: ScreenOptions) -> list[Step]:
    """Return the steps that are asked for, in their order.

    Raises:
        UnknownNameError: there is no such step.
        ConfigError: one occurs twice, comes before one that it needs, or lacks references.
    """
    names = _names(options)
    for i, name in enumerate(names):
        if name not in STEPS:
            raise UnknownNameError(f"Unknown step {name!r}.{did_you_mean(name, STEPS)}")
        if name in names[:i]:
            raise ConfigError(f"Expected every step once, got {name} again: {', '.join(names)}.")
    steps: list[Step] = [import_module(STEPS[name]).STEP for name in names]
    for i, step in enumerate(steps):
        if lacking := [name for name in step.after if name not in names[:i]]:
            raise ConfigError(
                f"{step.name} needs {', '.join(lacking)} before it, got the steps "
                f"{', '.join(names)}. Give --steps in an order such as {','.join(STEPS)}."
            )
    if not steps:
        raise ConfigError(f"Expected at least one step of {', '.join(STEPS)}; got none.")
    return steps


def _names(options: ScreenOptions) -> list[str]:
    """Return the names of the steps; the default has no hull where there are no references."""
    if "steps" in options.model_fields_set or options.hull:
        return list(options.steps)
    return [name for name in options.steps if name != "hull"]
