"""Generation from Python: options by name, or an object of options."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from matkit.errors import ConfigError
from matkit.generate.batch import Batch
from matkit.generate.conditions import properties_asked, strange_conditions
from matkit.generate.coordinates import check_trials
from matkit.generate.domains import ROOMS, Note, room_of
from matkit.generate.folder import paths_of, write_results
from matkit.generate.models import ALL, generator_of, model_names
from matkit.generate.options import GenerateOptions
from matkit.generate.run import Watch
from matkit.generate.run import generate as generate_structures
from matkit.generate.sizes import size_weights
from matkit.interfaces.generator import Domain
from matkit.options import dump_config, resolve
from matkit.runs.atomic import write_atomically

MODELS = ("model", "coordinates", "device")  # options that do not depend on what is made


def generate(
    options: GenerateOptions | None = None,
    *,
    watch: Watch = lambda stage: nullcontext(),
    note: Note = lambda text: None,
    **changes: Any,
) -> Batch:
    """Generate structures into a folder, e.g. ``generate(formula="Na4Cl4", relax="default")``.

    Args:
        options: Of what the model makes: `matkit.crystals.generation.CrystalOptions`.
        watch: Shows the progress of a stage, which it is told the name of.
        note: Told what is being done.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, the folder holds something else, or the
            model makes something else than the options are for.
        UnknownNameError, MissingExtraError, CheckpointError: a model cannot be had.
        UnknownElementError: a model does not know an element.
        DataError: there are no structures in a file that should hold some.
    """
    begin = time.perf_counter()
    asked = resolve(GenerateOptions, None, _models(options, changes))
    domain = _domain_of(options)
    if asked.model in (None, ALL):  # no model says whose options they are, and these choose one
        asked = resolve(room_of(domain).OPTIONS, options, changes)
    names = model_names(asked, domain)
    generator, card = generator_of(names, asked.coordinates, asked.device, domain)
    room = room_of(generator.domain)
    if options is not None and not isinstance(options, room.OPTIONS):
        raise ConfigError(_makes_others(options, card["name"], room.NOUN))
    options = resolve(room.OPTIONS, options, changes)
    check_trials(generator, options)
    if options.model is None:
        note(f"No model is named; taking {card['name']}")
    for remark in strange_conditions(properties_asked(options), card.get("properties", {})):
        note(f"Warning: {remark}")
    likely = size_weights(card, properties_asked(options))
    batch = generate_structures(generator, options, watch, note, likely)
    metrics = write_results(batch, room, options, card, time.perf_counter() - begin)
    write_atomically(paths_of(options, room.NOUN)["config"], dump_config(options).encode())
    return replace(batch, metrics=metrics)


def _models(options: GenerateOptions | None, changes: dict[str, Any]) -> dict[str, Any]:
    given = {} if options is None else {key: getattr(options, key) for key in MODELS}
    return given | {key: changes[key] for key in MODELS if key in changes}


def _makes_others(options: GenerateOptions, name: str, made: str) -> str:
    """Return what to do where a model makes something else than is asked for."""
    asked = f"{room_of(_domain_of(options)).NOUN}s"
    return (
        f"{name} makes {made}s, asked for were {asked}. Name another model (--model), or use "
        f"matkit generate {made}."
    )


def _domain_of(options: GenerateOptions | None) -> Domain:
    """Return what options are for; crystals if they do not say."""
    found = (domain for domain in ROOMS if isinstance(options, room_of(domain).OPTIONS))
    return next(found, "crystal")
