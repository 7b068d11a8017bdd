"""``matkit ts``: what it runs, writes and says."""

from __future__ import annotations

import time
from pathlib import Path

from matkit.calculator_info import model_info
from matkit.cli import execute, loading
from matkit.cli.configs import TSConfig
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
from matkit.data.species import isotopes
from matkit.report.figures import png
from matkit.report.json_files import plain
from matkit.runs.locking import alone
from matkit.runs.versions import versions
from matkit.transition.checks import check_structures, held_atoms
from matkit.transition.record import BAND, MINIMA, PATH, SADDLE, SearchRecord
from matkit.transition.report import profile_figure, ts_page, verdict
from matkit.transition.results import TSResult
from matkit.transition.run import transition_state

FOUND, NOT_FOUND = 0, 1
STRUCTURES = (BAND, SADDLE, PATH, MINIMA)
FILES = (*STRUCTURES, CONFIG, METRICS, FIGURE, REPORT)


def run_ts(config: TSConfig, display: Display) -> int:
    """Look for a transition state.

    Returns:
        Exit code: 1 if it was not found, or is not confirmed.

    Raises:
        ConfigError: the run to go on with had other options.
        OutputExistsError: results are there, and may neither be replaced nor gone on with.
        SimulationError: the calculator failed.
        StructureError: a structure cannot be read or used.
    """
    begin, out = time.perf_counter(), Path(config.out)
    structures = all_structures(config)
    check_structures(structures)
    folder = SearchFolder(out, FILES, STRUCTURES)
    with alone(out):
        goes_on = folder.check(config)
        calc = loading.load_model(config)
        display.note(execute.introduction(config, model_info(calc)))
        display.few([text for text in map(isotopes, structures) if text])
        record = SearchRecord(out, goes_on, held_atoms(structures[0]))
        with (
            folder.replacing(config, goes_on),
            simulation(display, "ts") as show,
            explained(config.out),
        ):
            result = transition_state(
                structures, calc, config.options(), record=record, on_step=show
            )
        metrics = plain(
            result.row()
            | {"command": "ts", "wall_time": time.perf_counter() - begin}
            | {"settings": config.model_dump(), "model": model_info(calc), "versions": versions()}
        )
        display.result(describe(result))
        figure = png(profile_figure(result))
        written = folder.write(metrics, figure, lambda names: ts_page(result, metrics, names))
    display.document(metrics | {"outputs": written})
    return FOUND if result.converged else NOT_FOUND


def describe(result: TSResult) -> str:
    """Return what was found, and why it is not what was looked for."""
    lines = [
        f"{result.atoms.symbols}: {verdict(result)}; {result.steps} steps of the search, "
        f"{result.hessians} Hessians, energy {result.energy:.6f} eV, largest force "
        f"{result.max_force:.1e} eV/Å"
    ]
    if result.barriers:
        heights = " and ".join(f"{value:.4f}" for value in result.barriers)
        names = "reactant and product" if result.ends else "its two minima"
        lines.append(f"  {heights} eV above {names}")
    for side, foot in enumerate(result.feet, start=1):
        like = f": reactant {foot.reactant}, product {foot.product}" if foot.reactant else ""
        lines.append(
            f"  side {side} of the path: {len(foot.branch.frames)} points, "
            f"{foot.atoms.get_potential_energy():.6f} eV{like}"
        )
    breaking, forming = (", ".join(names) for names in result.bond_changes)
    if breaking or forming:
        lines.append(
            f"  from side 1 to 2: {breaking or 'no bond'} breaks, {forming or 'none'} forms"
        )
    lines += [f"  failed: {text}" for text in result.problems]
    lines += [f"  warning: {text}" for text in result.warnings]
    return "\n".join(lines)
