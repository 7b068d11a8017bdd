"""Screening from Python: options by name, or an object of options."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from matkit.calculator_info import model_info
from matkit.generate.run import Watch
from matkit.options import dump_config, resolve
from matkit.report.json_files import plain
from matkit.runs.atomic import write_atomically
from matkit.runs.items import WHOLE, Shard, parse_shard
from matkit.runs.versions import versions
from matkit.screen.chain import chain
from matkit.screen.folder import paths_of, write_results
from matkit.screen.model import calculator
from matkit.screen.options import ScreenOptions
from matkit.screen.run import carry_chain_out
from matkit.screen.verdicts import ON_HULL, Screening, verdicts


def screen(
    options: ScreenOptions | None = None,
    *,
    watch: Watch = lambda stage: nullcontext(),
    note: Callable[[str], None] = lambda text: None,
    **changes: Any,
) -> Screening:
    """Screen candidates into a folder, e.g. ``screen(struct="cifs", steps="relax,phonons")``.

    Args:
        options: See `ScreenOptions`.
        watch: Shows the progress of a step, which it is told the name of.
        note: Told what is being done.
        **changes: Single options by name.

    Returns:
        Verdicts on the candidates of the shard, or on all if those of the others are there.

    Raises:
        ConfigError: an option, the order of the steps or a request is impossible, no candidates
            are named or none can be placed on the hull, or the folder holds something else.
        DataError: a file is missing or is not what it was when the screening was begun.
        UnknownNameError, MissingExtraError, CheckpointError: a model or a step cannot be had.
        SimulationError: workers cannot be had, or none lives.
    """
    begin = time.perf_counter()
    options = resolve(ScreenOptions, options, changes)
    shard = parse_shard(options.shard)
    if options.overwrite:
        paths_of(options, shard)["summary"].unlink(missing_ok=True)
    carry_chain_out(options, watch, note)
    found = _written(options, [shard], shard, time.perf_counter() - begin)
    config = Path(options.out) / f"config{shard.suffix}.yaml"
    write_atomically(config, dump_config(options).encode())
    shards = [Shard(number, shard.count) for number in range(1, shard.count + 1)]
    if shard == WHOLE or not all(paths_of(options, one)["summary"].exists() for one in shards):
        return found
    note("All parts are there; writing the table of all")
    return _written(options, shards, WHOLE, time.perf_counter() - begin)


def _written(
    options: ScreenOptions, shards: list[Shard], whole: Shard, seconds: float
) -> Screening:
    """Return the verdicts on some shards after they were written."""
    found = verdicts(options, shards)
    document: dict[str, Any] = plain(
        {
            "command": "screen",
            "model": model_info(calculator(options)),
            "options": options.model_dump(),
            "steps": [step.name for step in chain(options)],
            "thresholds": _thresholds(options, len(shards)),
            "counts": found.counts,
            "candidates": found.rows,
            "versions": versions(),
            "wall_time": seconds,
        }
    )
    found = replace(found, document=document, files=paths_of(options, whole))
    write_results(found, options)
    return found


def _thresholds(options: ScreenOptions, parts: int) -> list[str]:
    """Return what the verdicts mean."""
    texts = {
        "hull": f"Stable: at most {ON_HULL:g} eV/atom above the hull of the references; what is "
        f"more than {options.max_above_hull:g} eV/atom above it is unstable and goes no further.",
        "phonons": f"Dynamically unstable: a frequency below -{options.imaginary:g} THz at the Γ "
        f"point, on the path or on the mesh, in a supercell of at least {options.min_length:g} Å.",
        "elastic": "Mechanically unstable: a small strain lowers the energy (Born's criterion).",
    }
    names = [step.name for step in chain(options)]
    found = [text for name, text in texts.items() if name in names]
    if "dedupe" in names and parts > 1:
        found.append(f"Repeats were looked for within each of the {parts} parts only.")
    return found
