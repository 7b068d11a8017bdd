"""``matkit analyse``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from matkit.analysis.files import analysis_files, curve_cells, diffusion_cells, write_analysis
from matkit.analysis.options import AnalyseOptions
from matkit.analysis.results import TrajectoryAnalysis
from matkit.analysis.run import analyse
from matkit.cli.display import Display
from matkit.cli.progress import metered
from matkit.data.opening import locate
from matkit.errors import ConfigError, MatkitError
from matkit.options import dump_config
from matkit.report.json_files import plain
from matkit.report.tables import as_text
from matkit.runs.atomic import write_atomically
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing
from matkit.runs.versions import versions

OK, PROBLEMS = 0, 1
CONFIG = "config.yaml"


def run_analysis(options: AnalyseOptions, display: Display) -> int:
    """Analyse trajectories and write what was found.

    Returns:
        Exit code: 1 if one of several could not be analysed.

    Raises:
        ConfigError: there is no trajectory.
        OutputExistsError: there are results already.
        MatkitError: the only trajectory cannot be analysed.
    """
    if not options.struct:
        raise ConfigError("Expected a trajectory, got none. Name it: matkit analyse TRAJ...")
    bases = _bases(options)
    if not options.overwrite:
        planned = [path for base in bases.values() for path in analysis_files(base).values()]
        refuse_existing([Path(options.out) / CONFIG, *planned])
    rows = []
    with alone(options.out):
        for source, base in bases.items():
            try:
                rows.append({"source": source, **_analysed(source, base, options, display)})
                write_atomically(Path(options.out) / CONFIG, dump_config(options).encode())
            except MatkitError as error:
                if len(bases) == 1:
                    raise
                display.error(f"{source}: {error}")
                rows.append({"source": source, "error": str(error)})
    display.document({"command": "analyse", "trajectories": rows})
    return PROBLEMS if any("error" in row for row in rows) else OK


def _bases(options: AnalyseOptions) -> dict[str, Path]:
    """Return the beginnings of the names of results; files of equal stem are numbered."""
    bases: dict[str, Path] = {}
    for source in options.struct:
        stem = locate(source)[0].stem
        names = [stem, *(f"{stem}-{i}" for i in range(2, len(options.struct) + 1))]
        free = (Path(options.out) / name for name in names)
        bases[source] = next(base for base in free if base not in bases.values())
    return bases


def _analysed(source: str, base: Path, options: AnalyseOptions, display: Display) -> dict[str, Any]:
    begin = time.perf_counter()
    with metered(display, source) as meter:
        found = analyse(
            source,
            options.options(),
            on_frame=lambda count: meter.show(count, None, f"{count} frames"),
        )
    facts = {"command": "analyse", "options": options.model_dump(), "versions": versions()}
    outputs = write_analysis(found, base, facts | {"source": source})
    _show(source, found, display)
    display.note(f"{time.perf_counter() - begin:.1f} s; files: {', '.join(map(str, outputs))}")
    row: dict[str, Any] = plain(found.row())
    return row | {"outputs": [str(path) for path in outputs]}


def _show(source: str, found: TrajectoryAnalysis, display: Display) -> None:
    apart = f", {found.interval:.6g} fs apart" if found.interval else ""
    display.result(f"{source}: {found.formula}, {found.frames} frames{apart}")
    if found.distances is not None:
        peaks = (f"{name} {value:.2f} Å" for name, value in found.distances.peaks.items())
        display.result(f"Highest peaks: {', '.join(peaks)}")
    if found.diffusion is not None:
        start, end = found.diffusion.window
        display.result(as_text(diffusion_cells(found)))
        display.result(f"Fit from {start:.4g} to {end:.4g} ps, {found.diffusion.blocks} blocks")
    if rows := curve_cells(found):
        display.result(as_text(rows))
    for remark in found.remarks:
        display.note(remark)
