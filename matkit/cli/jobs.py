"""Which input file gives which results, planned before anything is computed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matkit.cli.configs import MDConfig, RunConfig
from matkit.cli.tasks import Task
from matkit.data.opening import locate
from matkit.data.species import isotopes
from matkit.errors import StructureError
from matkit.runs.locking import Lock
from matkit.runs.text_files import refuse_existing
from matkit.simulate.reading import Frame, read_frames


@dataclass(frozen=True)
class Job:
    """One input file.

    Attributes:
        source: The file as it was named.
        base: Beginning of the names of all its results.
        frames: Its structures; the only one has an error if the file cannot be read.
        first: How many structures the files before it hold.
    """

    source: str
    base: Path
    frames: list[Frame]
    first: int = 0

    def file(self, end: str) -> Path:
        """Return the path of a result, e.g. ``-summary.json``."""
        return self.base.with_name(self.base.name + end)

    def main_files(self, command: str, product: str) -> dict[str, Path]:
        """Return the files of the whole job: structures, settings, summary, what is done."""
        return {
            "journal": self.base.with_name(f".{self.base.name}-{command}.jsonl"),
            "product": self.file(f"-{product}.extxyz"),
            "config": self.file(f"-{command}-config.yaml"),
            "summary": self.file("-summary.json"),
        }

    def lock(self) -> Lock:
        """Keep other runs from the files of this job.

        Raises:
            ConfigError: another run is writing them.
        """
        return Lock(self.base.with_name(f".{self.base.name}.lock"))

    def label(self, index: int) -> str:
        """Return the name of one structure for people."""
        return self.source if len(self.frames) == 1 else f"{self.source}[{index}]"

    def number(self, frame: Frame) -> int:
        """Return the number of a structure over all files."""
        return self.first + frame.index

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
        first = jobs[-1].first + len(jobs[-1].frames) if jobs else 0
        frames = _frames(source, config.format)
        name = _unused(locate(source)[0].stem + config.suffix, len(frames), used)
        used |= _names(name, len(frames))
        jobs.append(Job(source, Path(config.out) / name, frames, first))
    if not any(frame.atoms is not None for job in jobs for frame in job.frames):
        raise StructureError("\n".join(frame.error for job in jobs for frame in job.frames))
    return jobs


def isotope_notes(jobs: list[Job]) -> list[str]:
    """Return which structures hold isotopes of unusual mass, which motions and modes depend on."""
    found = [
        (f"{job.source}[{frame.index}]", isotopes(frame.atoms))
        for job in jobs
        for frame in job.frames
        if frame.atoms is not None
    ]
    return [f"{source}: {text}" for source, text in found if text]


def check_outputs(jobs: list[Job], command: str, task: Task, config: RunConfig) -> None:
    """Raise OutputExistsError if a result is already there and may not be replaced.

    The summary of another command is no hindrance: `with_earlier` keeps it. Nor are settings alone,
    which a run leaves that was killed before its first result.
    """
    if config.overwrite or (isinstance(config, MDConfig) and config.restart is not None):
        return
    paths: list[Path] = []
    for job in jobs:
        files = job.main_files(command, task.product)
        if config.restart is not None and _may_go_on(files, command):
            continue
        if not _is_of_another_command(files["summary"], command):
            paths.append(files["summary"])
        paths.append(files["product"])
        for frame in job.frames:
            paths += task.files(config, job.frame_base(frame))
    refuse_existing(paths)


def with_earlier(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Return a summary together with those that other commands have left in the same file."""
    old = _read_summary(path)
    if old is None:
        return document
    earlier = {**old.pop("earlier", {}), old["command"]: old}
    earlier.pop(document["command"], None)
    return document | {"earlier": earlier} if earlier else document


def _is_of_another_command(path: Path, command: str) -> bool:
    summary = _read_summary(path)
    return summary is not None and command not in (summary["command"], *summary.get("earlier", {}))


def _may_go_on(files: dict[str, Path], command: str) -> bool:
    """Whether what is there belongs to a run that was ended or says what it has done."""
    summary = _read_summary(files["summary"])
    unfinished = summary is None or _is_of_another_command(files["summary"], command)
    return unfinished or files["journal"].exists()


def _read_summary(path: Path) -> dict[str, Any] | None:
    """Return the summary in a file, None if there is none or it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "command" in content else None


def _frames(source: str, format: str | None) -> list[Frame]:
    try:
        return read_frames(source, format)
    except StructureError as error:
        return [Frame(0, None, str(error))]


def _unused(name: str, count: int, used: set[str]) -> str:
    """Return a name so that neither it nor those of its structures are used already."""
    number, candidate = 1, name
    while _names(candidate, count) & used:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _names(name: str, count: int) -> set[str]:
    """Return the beginnings of the names of all files of a job, see `Job.frame_base`."""
    return {name, *(f"{name}-{i}" for i in range(count))} if count > 1 else {name}
