"""Files of a search for a transition state, from which it can go on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.constraints import FixAtoms
from ase.io.extxyz import write_extxyz

from matkit.runs.atomic import write_atomically
from matkit.simulate.results import Reason
from matkit.transition.band import Band
from matkit.transition.irc import Branch

BAND, SADDLE, PATH = "path.extxyz", "ts.extxyz", "irc.extxyz"
MINIMA = "minima.extxyz"


@dataclass(frozen=True)
class SearchRecord:
    """What has been done, in one file for every part; each part is written in one piece.

    Attributes:
        folder: Where the files are; None for no files.
        goes_on: Whether what is there is taken up. A new band makes the files after it void, and
            a new saddle point the path.
        held: Atoms that are held; files do not say so.
    """

    folder: Path | None
    goes_on: bool = False
    held: tuple[int, ...] = ()

    def band(self) -> Band | None:
        """Return the band as far as it was relaxed, None if there is none."""
        frames = self._read(BAND) if self.goes_on else []
        if not frames:
            return None
        info = frames[0].info
        steps, converged = int(info["band_steps"]), bool(info["band_converged"])
        return Band(frames, steps, float(info["band_force"]), converged)

    def keep_band(self, band: Band) -> None:
        """Write a band."""
        facts = {
            "band_steps": band.steps,
            "band_force": band.force,
            "band_converged": band.converged,
        }
        self._write(BAND, [(frame, facts) for frame in band.frames])
        self._remove(SADDLE, PATH, MINIMA)

    def saddle(self) -> Atoms | None:
        """Return the saddle point, None if none was found."""
        frames = self._read(SADDLE) if self.goes_on else []
        return frames[0] if frames and frames[0].info["reason"] == "converged" else None

    def keep_saddle(self, atoms: Atoms, reason: Reason) -> None:
        """Write the structure at which the search ended."""
        self._write(SADDLE, [(atoms, {"reason": reason})])
        self._remove(PATH, MINIMA)

    def branches(self) -> dict[int, Branch]:
        """Return the complete sides of the path by their sign."""
        return self._branches() if self.goes_on else {}

    def _branches(self) -> dict[int, Branch]:
        frames = self._read(PATH)
        sides = {-1: [f for f in reversed(frames) if f.info["side"] == -1]}
        sides[1] = [frame for frame in frames if frame.info["side"] == 1]
        return {side: Branch(f, f[0].info["path_ended"]) for side, f in sides.items() if f}

    def keep_branch(self, saddle: Atoms, side: int, branch: Branch) -> None:
        """Write one side of the path beside the other; the file leads from end to end."""
        branches = self._branches() | {side: branch}
        parts: list[tuple[Atoms, dict[str, Any]]] = []
        for sign in (-1, 1):
            if sign in branches:
                facts = {"side": sign, "path_ended": branches[sign].end}
                frames = branches[sign].frames[::sign]
                parts += [(frame, facts) for frame in frames]
            if sign == -1:
                parts.append((saddle, {"side": 0}))
        self._write(PATH, parts)

    def keep_minima(self, minima: Sequence[Atoms]) -> None:
        """Write the relaxed minima on both sides of the path."""
        sides = zip((-1, 1), minima, strict=True)
        self._write(MINIMA, [(frame, {"side": side}) for side, frame in sides])

    def _read(self, name: str) -> list[Atoms]:
        if self.folder is None or not (self.folder / name).is_file():
            return []
        path = self.folder / name
        frames = ase.io.read(path, ":", "extxyz", do_not_split_by_at_sign=True)
        for frame in frames:
            frame.set_constraint([FixAtoms(list(self.held))] if self.held else None)
        return list(frames)

    def _write(self, name: str, frames: Sequence[tuple[Atoms, dict[str, Any]]]) -> None:
        if self.folder is None:
            return
        images = []
        for frame, facts in frames:
            image = frame.copy()
            image.calc = frame.calc
            image.info.update(facts)
            images.append(image)
        buffer = io.StringIO()
        write_extxyz(buffer, images)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / name, buffer.getvalue().encode())

    def _remove(self, *names: str) -> None:
        if self.folder is not None:
            for name in names:
                (self.folder / name).unlink(missing_ok=True)
