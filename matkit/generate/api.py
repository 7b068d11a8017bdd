"""Generation from Python: options by name, or an object of options."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from matkit.cache import write_atomically
from matkit.crystals.evaluation import Note
from matkit.generate.folder import paths_of, write_results
from matkit.generate.options import CrystalOptions
from matkit.generate.requests import strange_conditions
from matkit.generate.run import Batch, Watch
from matkit.generate.run import generate as generate_crystals
from matkit.simulate.options import dump_config, resolve
from matkit.zoo import load_generator


def generate(
    options: CrystalOptions | None = None,
    *,
    watch: Watch = lambda stage: nullcontext(),
    note: Note = lambda text: None,
    **changes: Any,
) -> Batch:
    """Generate crystals into a folder, e.g. ``generate(formula="Na4Cl4", relax="default")``.

    Args:
        options: See `CrystalOptions`.
        watch: Shows the progress of a stage, which it is told the name of.
        note: Told what is being done.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, or the folder holds something else.
        UnknownNameError, MissingExtraError, CheckpointError: a model cannot be had.
        UnknownElementError: a model does not know an element.
        DataError: there are no structures in a file that should hold some.
    """
    options = resolve(CrystalOptions, options, changes)
    begin = time.perf_counter()
    generator, card = load_generator(options.model, options.device)
    if options.model is None:
        note(f"No model is named; taking {card['name']}")
    for remark in strange_conditions(options.condition, card.get("properties", {})):
        note(f"Warning: {remark}")
    learnt = {int(size): count for size, count in card.get("n_atoms", {}).items()}
    batch = generate_crystals(generator, options, watch, note, learnt)
    metrics = write_results(batch, options, card, time.perf_counter() - begin)
    write_atomically(paths_of(options)["config"], dump_config(options).encode())
    return replace(batch, metrics=metrics)
