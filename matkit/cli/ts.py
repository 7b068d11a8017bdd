"""``matkit ts``: what it runs, writes and says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from ase import Atoms
from ase.calculators.calculator import CalculatorError

from matkit.calculator_info import model_info
from matkit.cli import execute
from matkit.cli.configs import TSConfig
from matkit.cli.display import Display
from matkit.cli.progress import simulation
from matkit.data.species import isotopes
from matkit.errors import ConfigError, MatkitError, SimulationError, StructureError
from matkit.options import dump_config
from matkit.report.figures import png
from matkit.report.json_files import json_bytes, plain
from matkit.runs.atomic import write_atomically
from matkit.runs.locking import alone
from matkit.runs.replacing import OldResults
from matkit.runs.text_files import refuse_existing
from matkit.runs.versions import versions
from matkit.runs.yaml_text import read_yaml
from matkit.simulate.reading import read_frames
from matkit.simulate.results import OnStep
from matkit.transition.checks import check_structures, held_atoms
from matkit.transition.record import BAND, MINIMA, PATH, SADDLE, SearchRecord
from matkit.transition.report import profile_figure, ts_page, verdict
from matkit.transition.results import TSResult
from matkit.transition.run import transition_state

FOUND, NOT_FOUND = 0, 1
CONFIG, METRICS, FIGURE, REPORT = "config.yaml", "metrics.json", "profile.png", "report.html"
FILES = (BAND, SADDLE, PATH, MINIMA, CONFIG, METRICS, FIGURE, REPORT)
# What may change when a run goes on.
FREE = {"overwrite", "restart", "device", "out"}


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
    structures = [atoms for source in config.struct for atoms in _structures(source, config.format)]
    check_structures(structures)
    with alone(out):
        old = OldResults(out)
        goes_on = _check(out, config, old)
        calc = execute.load_model(config)
        display.note(execute.introduction(config, model_info(calc)))
        display.few([text for text in map(isotopes, structures) if text])
        record = SearchRecord(out, goes_on, held_atoms(structures[0]))
        with _replacing(out, config, goes_on, old), simulation(display, "ts") as show:
            result = _guarded(structures, calc, config, record, show)
        metrics = plain(
            result.row()
            | {"command": "ts", "wall_time": time.perf_counter() - begin}
            | {"settings": config.model_dump(), "model": model_info(calc), "versions": versions()}
        )
        display.result(describe(result))
        write_atomically(out / METRICS, json_bytes(metrics))
        write_atomically(out / FIGURE, png(profile_figure(result)))
        names = [name for name in FILES if (out / name).is_file() and name not in (FIGURE, REPORT)]
        write_atomically(out / REPORT, ts_page(result, metrics, names).encode())
    written = [str(out / name) for name in FILES if (out / name).is_file()]
    display.document(metrics | {"outputs": written})
    return FOUND if result.converged else NOT_FOUND


def _structures(source: str, format: str | None) -> list[Atoms]:
    frames = read_frames(source, format)
    bad = [frame.error for frame in frames if frame.atoms is None]
    if bad:
        raise StructureError(f"{source}: {bad[0]}")
    return [frame.atoms for frame in frames if frame.atoms is not None]


def _check(out: Path, config: TSConfig, old: OldResults) -> bool:
    """Return whether to go on with what is there, and check that it may be replaced if not."""
    if _has_result(out):
        old.discard()  # a run that was killed had replaced it
    else:
        old.restore(out / name for name in FILES)
    if config.goes_on and (out / CONFIG).is_file():
        _check_same(out / CONFIG, config)
        return True
    if not config.overwrite:
        refuse_existing(out / name for name in FILES if name != CONFIG)
    return False


@contextmanager
def _replacing(out: Path, config: TSConfig, goes_on: bool, old: OldResults) -> Iterator[None]:
    """Set older results aside; they come back if the search ends without any."""
    paths = [out / name for name in FILES]
    if not goes_on:
        old.set_aside(paths)
        write_atomically(out / CONFIG, dump_config(config).encode())
    try:
        yield
    except BaseException:
        if not _has_result(out):
            old.restore(paths)
        raise
    old.discard()


def _has_result(out: Path) -> bool:
    return any((out / name).exists() for name in (BAND, SADDLE, PATH, MINIMA))


def _check_same(path: Path, config: TSConfig) -> None:
    try:
        then: dict[str, Any] = dict(read_yaml(path))
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read {path}: {error}. Begin anew with overwrite.") from error
    now = config.model_dump()
    changed = [
        f"{key} = {then.get(key)} then, {value} now"
        for key, value in now.items()
        if key not in FREE and then.get(key, TSConfig.model_fields[key].default) != value
    ]
    if changed:
        raise ConfigError(
            f"{path} was written by a run with other options: {'; '.join(changed)}. Use the same "
            "ones to go on, or begin anew with overwrite."
        )


def _guarded(
    structures: list[Atoms], calc: Any, config: TSConfig, record: SearchRecord, show: OnStep | None
) -> TSResult:
    try:
        return transition_state(structures, calc, config.options(), record=record, on_step=show)
    except CalculatorError as error:
        if isinstance(error, MatkitError):  # it says itself what to do
            raise
        raise SimulationError(
            f"The calculator failed ({type(error).__name__}: {error}). What was done before is in "
            f"{config.out}; begin with better structures, or go on with --restart auto."
        ) from error


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
