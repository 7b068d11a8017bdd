"""Results of an older run, which stay until the run that replaces them has a result of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


class OldResults:
    """Files that are set aside in a hidden folder, and come back if the new run leaves nothing.

    The folder outlives a process that is killed; whoever comes next must say which results count.
    Only the owner of the place's lock may use this.

    Args:
        folder: Where the files are.
        name: What distinguishes them from others there.
    """

    def __init__(self, folder: Path, name: str = "run") -> None:
        self._folder, self._aside = folder, folder / f".{name}.replaced"
        self._moving = folder / f".{name}.moving"  # as long as not all files are on one side
        self._move_back()

    @property
    def there(self) -> bool:
        """Whether files are set aside."""
        return self._aside.is_dir()

    def set_aside(self, paths: Iterable[Path]) -> None:
        """Move files away; links are moved and not followed."""
        there = [path for path in paths if os.path.lexists(path)]
        if not there:
            return
        self._moving.mkdir()
        try:
            for path in there:
                os.replace(path, self._moving / path.name)
            self._moving.rename(self._aside)
        except BaseException:
            self._move_back()
            raise

    def restore(self, paths: Iterable[Path]) -> None:
        """Bring the old files back; what a failed run left at `paths` is removed first."""
        if not self.there:
            return
        for path in paths:
            path.unlink(missing_ok=True)
        self._aside.rename(self._moving)
        self._move_back()

    def discard(self) -> None:
        """Remove the old files, now that there are new ones."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def _move_back(self) -> None:
        if not self._moving.is_dir():
            return
        for path in self._moving.iterdir():
            os.replace(path, self._folder / path.name)
        self._moving.rmdir()
