"""The simulation commands: what each runs, writes and says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.cli import elastic, eos, phonons, qha, vibrations
from matkit.cli.configs import MDConfig, RelaxConfig, SinglepointConfig
from matkit.elastic.results import ElasticResult
from matkit.eos.results import EOSResult
from matkit.phonons.results import PhononsResult
from matkit.qha.results import QHAResult
from matkit.simulate import (
    MDFiles,
    md,
    md_many,
    relax,
    relax_many,
    singlepoint,
    singlepoint_many,
)
from matkit.simulate.frames import spread
from matkit.simulate.recorder import md_files
from matkit.simulate.results import MDResult, OnStep, RelaxResult, SinglepointResult
from matkit.units import GPA
from matkit.vibrations.results import VibrationsResult

AnyResult = (
    SinglepointResult
    | RelaxResult
    | MDResult
    | VibrationsResult
    | PhononsResult
    | ElasticResult
    | EOSResult
    | QHAResult
)


class Many(NamedTuple):
    """Structures that are computed together.

    Attributes:
        frames: The structures.
        bases: Beginning of the names of the files of each.
        numbers: Number of each over all files of the command.
        on_result: To be called with the place of a structure in these lists, and its result.
        on_step: To be called with the steps done and in all, where all structures step together.
    """

    frames: list[Atoms]
    bases: list[Path]
    numbers: list[int]
    on_result: Callable[[int, Any], None]
    on_step: Callable[[int, int], None]


RunMany = Callable[[Many, BaseCalculator, Any], object]


@dataclass(frozen=True)
class Task:
    """One command.

    Attributes:
        product: Kind of the file with the resulting structures, as in ``cu-relaxed.extxyz``.
        run: Function of the structure, calculator, configuration, beginning of the names of its
            files, and progress callback.
        files: Further files that are written for one structure.
        describe: One line about a result.
        write: Writes those that need the whole result.
        run_many: The same for many structures in batches.
        suits_batches: Whether the configuration leaves it to batches.
    """

    product: str
    run: Callable[[Atoms, BaseCalculator, Any, Path, OnStep | None], AnyResult]
    files: Callable[[Any, Path], list[Path]]
    describe: Callable[[Any], str]
    write: Callable[[Any, Any, Path], None] = lambda result, config, out: None
    run_many: RunMany | None = None
    suits_batches: Callable[[Any], bool] = lambda config: True


def _singlepoint(
    atoms: Atoms, calc: BaseCalculator, config: SinglepointConfig, _out: Path, _show: OnStep | None
) -> SinglepointResult:
    return singlepoint(atoms, calc, config.options())


def _relax(
    atoms: Atoms, calc: BaseCalculator, config: RelaxConfig, out: Path, show: OnStep | None
) -> RelaxResult:
    trajectory = next(iter(_relax_files(config, out)), None)
    return relax(atoms, calc, config.options(), trajectory=trajectory, on_step=show)


def _singlepoint_many(many: Many, calc: BaseCalculator, config: SinglepointConfig) -> object:
    options, size = config.options(), config.batch_size
    return singlepoint_many(many.frames, calc, options, batch_size=size, on_result=many.on_result)


def _relaxes_in_batches(config: RelaxConfig) -> bool:
    from matkit.simulate.batched.relaxations import known_to_batches  # needs torch

    return not config.write_traj and known_to_batches(config.options())


def _relax_many(many: Many, calc: BaseCalculator, config: RelaxConfig) -> object:
    options, size = config.options(), config.batch_size
    return relax_many(many.frames, calc, options, batch_size=size, on_result=many.on_result)


def _md(
    atoms: Atoms, calc: BaseCalculator, config: MDConfig, out: Path, show: OnStep | None
) -> MDResult:
    return md(
        atoms,
        calc,
        config.options(),
        out=out,
        restart=config.restart,
        overwrite=config.overwrite,
        on_step=show,
    )


def _runs_in_batches(config: MDConfig) -> bool:
    from matkit.simulate.batched.dynamics import known_to_batches  # needs torch

    return config.restart in (None, "auto") and known_to_batches(config.options())


def _md_many(many: Many, calc: BaseCalculator, config: MDConfig) -> object:
    going_on: Literal["auto"] | None = "auto" if config.restart else None
    return md_many(
        many.frames,
        calc,
        config.options(),
        files=MDFiles(many.bases, going_on, config.overwrite),
        seeds=[config.of_structure(number).seed for number in many.numbers],
        batch_size=config.batch_size,
        on_result=many.on_result,
        on_step=many.on_step,
    )


def _no_files(_config: SinglepointConfig, _out: Path) -> list[Path]:
    return []


def _relax_files(config: RelaxConfig, out: Path) -> list[Path]:
    return [out.with_name(f"{out.name}-traj.extxyz")] if config.write_traj else []


def _md_files(_config: MDConfig, out: Path) -> list[Path]:
    return list(md_files(out).values())


def _describe_singlepoint(result: SinglepointResult) -> str:
    pressure = residual = ""
    if result.rotational_residual is not None:
        residual = f", rotational residual {result.rotational_residual:.2g} eV/rad"
    if result.stress is not None:
        pressure = f", pressure {-result.stress[:3].mean() / GPA:.3f} GPa"
    return (
        f"energy {result.energy:.6f} eV, largest force {result.max_force:.4f} eV/Å{pressure}"
        f"{residual}{_describe_spread(result)}"
    )


def _describe_relax(result: RelaxResult) -> str:
    stress = ""
    if result.max_stress is not None:
        stress = f", stress left {result.max_stress / GPA:.4f} GPa"
    return (
        f"{result.steps} steps, energy {result.initial_energy:.6f} -> {result.energy:.6f} eV, "
        f"largest force {result.max_force:.4f} eV/Å{stress}{_describe_spread(result)}"
    )


def _describe_spread(result: SinglepointResult | RelaxResult) -> str:
    """Return how far the members of a committee are apart; nothing of a single model."""
    apart = spread(result.atoms)
    if not apart:
        return ""
    return (
        f", deviation {apart['energy_std']:.6f} eV, of forces at most "
        f"{apart['max_forces_std']:.4f} eV/Å"
    )


def _describe_md(result: MDResult) -> str:
    parts = [
        f"{result.steps} steps, {result.temperature:.0f} K, potential energy {result.energy:.6f} eV"
    ]
    if result.restarted_from is not None:
        parts.append(f"went on from step {result.restarted_from}")
    if result.drift is not None:
        parts.append(f"drift {result.drift:.3g} meV/atom/ps")
    if result.max_forces_std is not None:
        parts.append(f"deviation of forces at most {result.max_forces_std:.4f} eV/Å")
    parts.append(f"{result.steps_per_second:.1f} steps/s")
    return ", ".join(parts)


TASKS = {
    "singlepoint": Task(
        "singlepoint",
        _singlepoint,
        _no_files,
        _describe_singlepoint,
        run_many=_singlepoint_many,
    ),
    "relax": Task(
        "relaxed",
        _relax,
        _relax_files,
        _describe_relax,
        run_many=_relax_many,
        suits_batches=_relaxes_in_batches,
    ),
    "md": Task(
        "final",
        _md,
        _md_files,
        _describe_md,
        run_many=_md_many,
        suits_batches=_runs_in_batches,
    ),
    "vibrations": Task(
        "vibrations", vibrations.run, vibrations.files, vibrations.describe, vibrations.write
    ),
    "phonons": Task("phonons", phonons.run, phonons.files, phonons.describe, phonons.write),
    "elastic": Task("elastic", elastic.run, elastic.files, elastic.describe, elastic.write),
    "eos": Task("eos", eos.run, eos.files, eos.describe, eos.write),
    "qha": Task("qha", qha.run, qha.files, qha.describe, qha.write),
}
