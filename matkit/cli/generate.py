"""``matkit generate crystal``."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from matkit.cache import write_atomically
from matkit.campaign.items import parse_shard
from matkit.cli.display import Display
from matkit.cli.label import progress
from matkit.cli.yaml_files import dump_config
from matkit.crystals.writing import score_cells
from matkit.errors import ConfigError
from matkit.evaluate.documents import json_bytes, plain
from matkit.evaluate.tables import as_text
from matkit.generate.options import CrystalOptions
from matkit.generate.results import archive, as_csv, counts, render, scores, structure_rows
from matkit.generate.run import Batch, generate
from matkit.simulate.summary import versions
from matkit.zoo import load_generator

OK, NONE_GENERATED = 0, 1


def run_generate(options: CrystalOptions, display: Display) -> int:
    """Generate crystals and write what they are like.

    Returns:
        Exit code: 1 if there are no crystals.

    Raises:
        ConfigError: no model is named, or what is asked for is impossible.
        CheckpointError: the model cannot be read.
    """
    if options.model is None:
        raise ConfigError("Expected a generator: matkit generate crystal OUT --model NAME-or-FILE")
    begin = time.perf_counter()
    generator, card = load_generator(options.model, options.device)
    learnt = {int(size): count for size, count in card.get("n_atoms", {}).items()}
    watch = partial(progress, display)
    batch = generate(generator, options, watch, display.note, learnt)
    metrics = plain(
        {
            "command": "generate crystal",
            "model": card,
            "options": options.model_dump(),
            "counts": counts(batch),
            "scores": scores(batch),
            "versions": versions(),
            "wall_time": time.perf_counter() - begin,
        }
    )
    paths = _paths(options)
    write_atomically(paths["config"], dump_config(options).encode())
    write_atomically(paths["metrics"], json_bytes(metrics))
    write_atomically(paths["structures"], as_csv(structure_rows(batch)).encode())
    write_atomically(paths["archive"], archive(batch, options.dedupe))
    write_atomically(paths["report"], render(batch, metrics).encode())
    _show(batch, metrics, display)
    display.note(f"Wrote {options.out}: {', '.join(path.name for path in paths.values())}")
    return OK if batch.generated else NONE_GENERATED


def _paths(options: CrystalOptions) -> dict[str, Path]:
    suffix = parse_shard(options.shard).suffix
    endings = {
        "config": ("config", "yaml"),
        "metrics": ("metrics", "json"),
        "structures": ("structures", "csv"),
        "archive": ("crystals", "zip"),
        "report": ("report", "html"),
    }
    folder = Path(options.out)
    return {kind: folder / f"{stem}{suffix}.{end}" for kind, (stem, end) in endings.items()}


def _show(batch: Batch, metrics: dict[str, Any], display: Display) -> None:
    if batch.evaluation is not None:
        display.result(as_text([row[:3] for row in score_cells(batch.evaluation.scores)]))
    for name, value in metrics["counts"].items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        display.result(f"{name.replace('_', ' ')}: {text}")
    display.document(metrics)
