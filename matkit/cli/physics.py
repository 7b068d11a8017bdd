"""``matkit evaluate physics``."""

from __future__ import annotations

import time
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator import MatkitCalculator
from matkit.calculator_info import model_info
from matkit.cli.display import Display
from matkit.cli.physics_comparison import run_comparison
from matkit.errors import ConfigError, StructureError
from matkit.evaluate.physics.crystals import simple_crystals
from matkit.evaluate.physics.options import PhysicsOptions
from matkit.evaluate.physics.report import document, lines, physics_page
from matkit.evaluate.physics.run import evaluate_physics
from matkit.label.calculator_engine import calculator_by, is_factory
from matkit.models.zoo import load_calculator
from matkit.options import dump_config
from matkit.report.json_files import json_bytes, plain
from matkit.runs.atomic import write_atomically
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing
from matkit.runs.versions import versions
from matkit.simulate.reading import read_frames

PASSES, FAILS = 0, 1
FILES = {"metrics": "physics.json", "report": "report.html", "config": "config.yaml"}


def run_physics(options: PhysicsOptions, display: Display) -> int:
    """Check what a model does on physics, or compare several, and write what was found.

    Returns:
        Exit code: 1 if a check fails.

    Raises:
        ConfigError: no model is named.
        OutputExistsError: there are results already.
        StructureError: a structure cannot be read, or is no crystal.
    """
    if options.model is None:
        raise ConfigError("Expected a model, got none. Name it: matkit evaluate physics MODEL")
    with alone(options.out):
        if options.compares:
            return _compare(options, display)
        return _check(options.model, options, display)


def _compare(options: PhysicsOptions, display: Display) -> int:
    calcs = {model: _any_calculator(model, options) for model in options.models()}
    crystals = _read(options)
    if not crystals:
        known = next((s for c in calcs.values() if (s := getattr(c, "species", None))), None)
        if known is None:
            raise ConfigError("Expected crystals, got none: no model says which elements it knows.")
        crystals = simple_crystals(known, options.sized().crystals or 0)
    return run_comparison(calcs, crystals, options, display)


def _any_calculator(model: str, options: PhysicsOptions) -> BaseCalculator:
    """Return the calculator of a model, or the one that ``module:factory`` makes."""
    if not is_factory(model):
        return _calculator(model, options)
    if options.dispersion is not None or options.symmetrize is not None:
        raise ConfigError(
            f"Expected models of matkit to add dispersion to or to symmetrize, got {model}, which "
            "is taken as its factory makes it. Leave these options out."
        )
    return calculator_by(model, {})


def _check(model: str, options: PhysicsOptions, display: Display) -> int:
    begin = time.perf_counter()
    files = {kind: Path(options.out) / name for kind, name in FILES.items()}
    if not options.overwrite:
        refuse_existing(files.values())
    calc = _calculator(model, options)
    species = list(calc.species)
    crystals = _read(options) or simple_crystals(species, options.sized().crystals or 0)
    if not crystals:
        display.note("No simple crystal of the elements of this model is known: name some")
    result = evaluate_physics(calc, crystals, options, species, display.note)
    metrics = plain(
        {
            "command": "evaluate physics",
            "model": model_info(calc),
            "options": options.model_dump(),
            "versions": versions(),
            **document(result),
            "wall_time": time.perf_counter() - begin,
        }
    )
    try:
        write_atomically(files["config"], dump_config(options).encode())
        write_atomically(files["metrics"], json_bytes(metrics))
        write_atomically(files["report"], physics_page(result, metrics).encode())
    finally:  # what was found is said even if the disk takes no more
        display.result(lines(result))
        display.note(f"{metrics['wall_time']:.1f} s; files: {', '.join(map(str, files.values()))}")
        display.document(metrics)
    return PASSES if result.passes else FAILS


def _calculator(model: str, options: PhysicsOptions) -> MatkitCalculator:
    return load_calculator(
        model,
        options.device,
        options.dtype,
        dispersion=options.dispersion,
        dispersion_functional=options.dispersion_functional,
        symmetrize=options.symmetrize,
    )


def _read(options: PhysicsOptions) -> list[Atoms]:
    frames = [frame for path in options.struct for frame in read_frames(path, options.format)]
    bad = [frame.error for frame in frames if frame.atoms is None]
    if bad:
        raise StructureError(f"A structure cannot be used: {bad[0]}")
    return [frame.atoms for frame in frames if frame.atoms is not None]
