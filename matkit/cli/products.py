"""What a simulation command writes while it goes from structure to structure."""

from __future__ import annotations

from typing import Any

from matkit.cli.configs import MDConfig, RunConfig
from matkit.cli.jobs import Job
from matkit.cli.journal import Journal
from matkit.cli.tasks import AnyResult, Task
from matkit.runs.text_files import TextFile, append_frame, check_length, sort_frames
from matkit.simulate.reading import Frame

Row = dict[str, Any]


def unwritten(what: str, error: OSError) -> Row:
    """Return what the row of a structure says when something of it could not be written."""
    message = f"the {what} could not be written: {error}"
    return {"converged": False, "reason": "unwritten", "message": message}


class Products:
    """What a job writes for every structure, and which structures an earlier run has done.

    Args:
        job: Input file and names of its results.
        command: Name of the command.
        task: What it does.
        config: Its configuration.
        weights: Checksum of the model, which may be another under the same name.

    Raises:
        ConfigError: the run to go on with had other options.
        SimulationError: its results are no longer there.
    """

    def __init__(
        self, job: Job, command: str, task: Task, config: RunConfig, weights: str | None
    ) -> None:
        files = job.main_files(command, task.product)
        self.job, self.task, self.config = job, task, config
        self.path = files["product"]
        self._product: TextFile | None = None
        self._journal: Journal | None = None
        if isinstance(config, MDConfig):  # goes on in the middle of a structure
            return
        settings = config.model_dump() | {"weights": weights}
        goes_on = config.restart is not None
        self._journal = Journal(files["journal"], settings, config.defaults(), goes_on)
        if self._journal.length:
            check_length(self.path, self._journal.length)
            self._product = TextFile(self.path, self._journal.length)

    def known(self, frame: Frame) -> Row | None:
        """Return what a run before found for a structure."""
        if frame.atoms is None or self._journal is None:
            return None
        return self._journal.row(frame.index, frame.atoms)

    def keep(self, frame: Frame, row: Row, result: AnyResult | None) -> Row:
        """Write a result down; return what to change in its row if that fails."""
        try:
            if result is not None:
                self.task.write(result, self.config, self.job.frame_base(frame))
                self._product = self._product or TextFile(self.path)
                info = {"frame": frame.index, "reason": result.reason}
                append_frame(self._product, result.atoms, **info)
            if frame.atoms is not None and self._journal and row["reason"] != "interrupted":
                length = self._product.sync() if self._product is not None else 0
                self._journal.write(frame.index, frame.atoms, row, length)
        except OSError as error:
            return unwritten("result", error)
        return {}

    def sort(self) -> None:
        """Put the structures into the order of the input, in which batches do not end."""
        if self._product is not None:
            sort_frames(self.path, "frame")

    def close(self) -> None:
        """Close the files."""
        if self._journal is not None:
            self._journal.close()
        if self._product is not None:
            self._product.close()
