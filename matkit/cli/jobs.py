"""Which input file gives which results, planned before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matkit.cli.configs import MDConfig, RunConfig
from matkit.cli.tasks import Task
from matkit.errors import StructureError
from matkit.simulate.files import refuse_existing
from matkit.simulate.reading import Frame, read_frames


@dataclass(frozen=True)
class Job:
    """One input file.

    Attributes:
        source: The file as it was named.
        base: Beginning of the names of all its results.
        frames: Its structures; the only one has an error if the file cannot be read.
    """

    source: str
    base: Path
    frames: list[Frame]

    def file(self, end: str) -> Path:
        """Return the path of a result, e.g. ``-summary.json``."""
        return self.base.with_name(self.base.name + end)

    def frame_base(self, frame: Frame) -> Path:
        """Return the beginning of the names of the files of one structure."""
        return self.base if len(self.frames) == 1 else self.file(f"-{frame.index}")


def plan(config: RunConfig) -> list[Job]:
    """Read all structures and name their results; files of equal stem are numbered.

    Raises:
        StructureError: no file can be read.
    """
    jobs: list[Job] = []
    used: set[str] = set()
    for source in config.struct:
        name = _unused(Path(source).stem + config.suffix, used)
        used.add(name)
        jobs.append(Job(source, Path(config.out) / name, _frames(source)))
    if not any(frame.atoms is not None for job in jobs for frame in job.frames):
        raise StructureError("\n".join(frame.error for job in jobs for frame in job.frames))
    return jobs


def check_outputs(jobs: list[Job], task: Task, config: RunConfig) -> None:
    """Raise OutputExistsError if a result is already there and may not be replaced."""
    goes_on = isinstance(config, MDConfig) and config.restart is not None
    if config.overwrite or goes_on:
        return
    ends = (f"-{task.product}.extxyz", "-summary.json", "-config.yaml")
    paths = [job.file(end) for job in jobs for end in ends]
    for job in jobs:
        for frame in job.frames:
            paths += task.files(config, job.frame_base(frame))
    refuse_existing(paths)


def _frames(source: str) -> list[Frame]:
    try:
        return read_frames(source)
    except StructureError as error:
        return [Frame(0, None, str(error))]


def _unused(name: str, used: set[str]) -> str:
    number, candidate = 1, name
    while candidate in used:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
