"""Where candidates come from: files, or the generator."""

from __future__ import annotations

from collections.abc import Callable

from matkit.crystals.generation import CrystalOptions
from matkit.errors import ConfigError
from matkit.generate.models import generator_of, model_names
from matkit.generate.run import Watch, draw
from matkit.generate.sizes import size_weights
from matkit.label.entries import entries
from matkit.options import build
from matkit.runs.items import Item, parse_shard
from matkit.screen.options import REQUEST, ScreenOptions


def candidates(options: ScreenOptions, watch: Watch, note: Callable[[str], None]) -> list[Item]:
    """Return the candidates of a shard; what could not be read or generated is one too.

    Args:
        options: Which.
        watch: Shows the progress of the sampling.
        note: Told what is being done.

    Raises:
        ConfigError: neither files nor a number to generate are given, or what is to be generated
            is impossible.
        DataError: a file is missing, or there is nothing in any of them.
        UnknownNameError, CheckpointError: the generator cannot be had.
    """
    if options.generate is not None:
        return _generated(options, watch, note)
    if not options.struct:
        raise ConfigError(
            "Expected candidates, got none. Name files: matkit screen CANDIDATES..., or let "
            "crystals be generated: --generate COUNT"
        )
    return list(parse_shard(options.shard).of(entries(options.struct, options.format)))


def _generated(options: ScreenOptions, watch: Watch, note: Callable[[str], None]) -> list[Item]:
    given = {name: getattr(options, name) for name in REQUEST}
    given |= {"num_samples": options.generate, "out": options.out, "shard": options.shard}
    given |= {"device": options.device, "overwrite": options.overwrite, "model": options.generator}
    wanted = build(CrystalOptions, given)
    names = model_names(wanted, "crystal")
    generator, card = generator_of(names, None, options.device, "crystal")
    note(f"Generating {options.generate} crystals by {card['name']}")
    if generator.domain != "crystal":
        raise ConfigError(f"{card['name']} makes {generator.domain}s; screening takes crystals.")
    batch = draw(generator, wanted, watch, size_weights(card, {}), note)
    drawn = batch.drawn
    return [
        Item(number, f"generated[{number}]", drawn.get(number), row["reason"])
        for number, row in sorted(batch.rows.items())
    ]
