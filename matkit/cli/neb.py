"""``matkit neb``: what it runs, writes and says."""

from __future__ import annotations

import time
from pathlib import Path

from matkit.calculator_info import ignored_conditions, model_info
from matkit.cli import execute, loading
from matkit.cli.configs import NEBConfig
from matkit.cli.display import Display
from matkit.cli.progress import simulation
from matkit.cli.search_folder import (
    CONFIG,
    FIGURE,
    METRICS,
    REPORT,
    SearchFolder,
    all_structures,
    explained,
)
from matkit.neb.ends import check_ends
from matkit.neb.report import path_figure, path_page, verdict
from matkit.neb.results import NEBResult
from matkit.neb.run import neb
from matkit.report.figures import png
from matkit.report.json_files import plain
from matkit.runs.locking import alone
from matkit.runs.versions import versions
from matkit.transition.checks import held_atoms
from matkit.transition.record import BAND, SearchRecord

CONVERGED, NOT_CONVERGED = 0, 1
FILES = (BAND, CONFIG, METRICS, FIGURE, REPORT)


def run_neb(config: NEBConfig, display: Display) -> int:
    """Look for a path.

    Returns:
        Exit code: 1 if it is not converged.

    Raises:
        ConfigError: the run to go on with had other options.
        OutputExistsError: results are there, and may neither be replaced nor gone on with.
        SimulationError: the calculator failed.
        StructureError: a structure cannot be read or used.
    """
    begin, out = time.perf_counter(), Path(config.out)
    structures = all_structures(config)
    check_ends(structures)
    folder = SearchFolder(out, FILES, (BAND,))
    with alone(out):
        goes_on = folder.check(config)
        calc = loading.load_model(config)
        display.note(execute.introduction(config, model_info(calc)))
        record = SearchRecord(out, goes_on, held_atoms(structures[0]))
        with (
            folder.replacing(config, goes_on),
            simulation(display, "neb") as show,
            explained(config.out),
        ):
            result = neb(structures, calc, config.options(), record=record, on_step=show)
        metrics = plain(
            result.row()
            | {"command": "neb", "wall_time": time.perf_counter() - begin}
            | {"ignored": ignored_conditions(calc, structures[0])}
            | {"settings": config.model_dump(), "model": model_info(calc), "versions": versions()}
        )
        display.result(describe(result))
        figure = png(path_figure(result))
        written = folder.write(metrics, figure, lambda names: path_page(result, metrics, names))
    display.document(metrics | {"outputs": written})
    return CONVERGED if result.converged else NOT_CONVERGED


def describe(result: NEBResult) -> str:
    """Return the barriers, a table of the images, and what to beware of."""
    lines = [
        f"{result.atoms.symbols}: {verdict(result)}, "
        f"from end to end {result.reaction_energy:+.4f} eV; {result.steps} steps, "
        f"largest force {result.max_force:.3f} eV/Å",
        "  image  length (Å)  energy (eV)",
    ]
    pairs = zip(result.lengths, result.energies, strict=True)
    lines += [f"  {i:5d}{length:12.3f}{energy:13.4f}" for i, (length, energy) in enumerate(pairs)]
    return "\n".join([*lines, *(f"  warning: {text}" for text in result.messages)])
