"""The folder of a search for one thing, such as a path: begun, gone on with, or replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ase import Atoms
from ase.calculators.calculator import CalculatorError

from matkit.cli.configs import RunConfig
from matkit.errors import ConfigError, MatkitError, SimulationError, StructureError
from matkit.options import dump_config
from matkit.report.json_files import json_bytes
from matkit.runs.atomic import write_atomically
from matkit.runs.replacing import OldResults
from matkit.runs.settings import changed_settings
from matkit.runs.text_files import refuse_existing
from matkit.runs.yaml_text import read_yaml
from matkit.simulate.reading import read_frames

CONFIG, METRICS, FIGURE, REPORT = "config.yaml", "metrics.json", "profile.png", "report.html"
# What may change when a run goes on.
FREE = {"overwrite", "restart", "device", "out"}


def all_structures(config: RunConfig) -> list[Atoms]:
    """Return all structures of all files.

    Raises:
        StructureError: one of them cannot be read.
    """
    structures = []
    for source in config.struct:
        for frame in read_frames(source, config.format):
            if frame.atoms is None:
                raise StructureError(f"{source}: {frame.error}")
            structures.append(frame.atoms)
    return structures


@dataclass(frozen=True)
class SearchFolder:
    """Where the files of a search are; only the owner of its lock may use this.

    Attributes:
        path: The folder.
        files: Names of all files.
        results: Those that hold structures, from which a search can go on.
    """

    path: Path
    files: tuple[str, ...]
    results: tuple[str, ...]

    def check(self, config: RunConfig) -> bool:
        """Return whether to go on with what is there.

        Raises:
            ConfigError: what is to be gone on with had other options.
            OutputExistsError: there are results, which may not be replaced.
        """
        old = OldResults(self.path)
        if self._has_result():
            old.discard()  # a run that was killed had replaced it
        else:
            old.restore(self.path / name for name in self.files)
        if config.restart is not None and (self.path / CONFIG).is_file():
            _check_same(self.path / CONFIG, config)
            return True
        if not config.overwrite:
            refuse_existing(self.path / name for name in self.files if name != CONFIG)
        return False

    @contextmanager
    def replacing(self, config: RunConfig, goes_on: bool) -> Iterator[None]:
        """Set older results aside; they come back if the search ends without any."""
        old, paths = OldResults(self.path), [self.path / name for name in self.files]
        if not goes_on:
            old.set_aside(paths)
            write_atomically(self.path / CONFIG, dump_config(config).encode())
        try:
            yield
        except BaseException:
            if not self._has_result():
                old.restore(paths)
            raise
        old.discard()

    def write(
        self, metrics: Mapping[str, Any], figure: bytes, page: Callable[[list[str]], str]
    ) -> list[str]:
        """Write the numbers, the picture and the page, and return the paths of all files.

        Args:
            metrics: Content of metrics.json.
            figure: The picture.
            page: Returns the page, given the names of the files beside it.
        """
        write_atomically(self.path / METRICS, json_bytes(metrics))
        write_atomically(self.path / FIGURE, figure)
        write_atomically(self.path / REPORT, page(self._there(FIGURE, REPORT)).encode())
        return [str(self.path / name) for name in self._there()]

    def _there(self, *without: str) -> list[str]:
        return [n for n in self.files if (self.path / n).is_file() and n not in without]

    def _has_result(self) -> bool:
        return any((self.path / name).exists() for name in self.results)


@contextmanager
def explained(out: str) -> Iterator[None]:
    """Tell what is left when the calculator fails.

    Raises:
        SimulationError: the calculator failed.
    """
    try:
        yield
    except CalculatorError as error:
        if isinstance(error, MatkitError):  # it says itself what to do
            raise
        raise SimulationError(
            f"The calculator failed ({type(error).__name__}: {error}). What was done before is in "
            f"{out}; begin with better structures, or go on with --restart auto."
        ) from error


def _check_same(path: Path, config: RunConfig) -> None:
    try:
        then: dict[str, Any] = dict(read_yaml(path))
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read {path}: {error}. Begin anew with overwrite.") from error
    now = config.model_dump()
    free = {*FREE, *(then.keys() - now.keys())}
    if changed := changed_settings(then, now, free, config.defaults()):
        raise ConfigError(
            f"{path} was written by a run with other options: {changed}. Use the same ones to go "
            "on, or begin anew with overwrite."
        )
