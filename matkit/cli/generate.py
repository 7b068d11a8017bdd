"""``matkit generate crystal``."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from matkit.cli.display import Display
from matkit.cli.label import progress
from matkit.cli.yaml_files import dump_config
from matkit.errors import ConfigError
from matkit.generate.conditions import strange_conditions
from matkit.generate.domains import room_of
from matkit.generate.folder import paths_of, write_results
from matkit.generate.options import GenerateOptions
from matkit.generate.run import generate
from matkit.interfaces.generator import Domain
from matkit.models.zoo import load_generator
from matkit.runs.atomic import write_atomically

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
    begin = time.perf_counter()
    generator, card = load_generator(options.model, options.device)
    if generator.domain != domain:
        raise ConfigError(
            f"{card['name']} makes {generator.domain}s, not {domain}s: use matkit generate "
            f"{generator.domain}, or another model."
        )
    room = room_of(domain)
    if options.model is None:
        display.note(f"No model is named; taking {card['name']}")
    for remark in strange_conditions(options.condition, card.get("properties", {})):
        display.note(f"Warning: {remark}")
    learnt = {int(size): count for size, count in card.get("n_atoms", {}).items()}
    batch = generate(generator, options, partial(progress, display), display.note, learnt)
    metrics = write_results(batch, room, options, card, time.perf_counter() - begin)
    paths = paths_of(options, batch.noun)
    write_atomically(paths["config"], dump_config(options).encode())
    for line in room.lines(batch):
        display.result(line)
    _show(metrics, display)
    display.note(f"Wrote {options.out}: {', '.join(path.name for path in paths.values())}")
    return OK if batch.generated else NONE_GENERATED


def _show(metrics: dict[str, Any], display: Display) -> None:
    for name, value in metrics["counts"].items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        display.result(f"{name.replace('_', ' ')}: {text}")
    display.document(metrics)
