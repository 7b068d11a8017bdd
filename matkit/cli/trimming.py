"""``matkit models trim``."""

from __future__ import annotations

from pathlib import Path

from matkit.cli.display import Display
from matkit.errors import StructureError
from matkit.models import checkpoint, zoo
from matkit.models.cards import inherited
from matkit.models.trim import default_crystals, trim
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing
from matkit.simulate.reading import read_frames


def run_trim(
    model: str, out: Path, structures: Path | None, basis_size: int, overwrite: bool, show: Display
) -> int:
    """Trim a model and write it; the exit code is 0.

    Raises:
        OutputExistsError: the file is there and may not be replaced.
        StructureError: there are no structures to fit.
    """
    with alone(out.parent, out.name):
        return _trim(model, out, structures, basis_size, overwrite, show)


def _trim(
    model: str, out: Path, structures: Path | None, basis_size: int, overwrite: bool, show: Display
) -> int:
    if not overwrite:
        refuse_existing([out])
    network = zoo.load(model).network
    crystals = default_crystals(network.species)
    if structures is not None:
        frames = read_frames(str(structures))
        crystals = [frame.atoms for frame in frames if frame.atoms is not None]
        show.few([f"{structures}[{f.index}]: {f.error}" for f in frames if f.atoms is None])
    if not crystals:
        raise StructureError(
            f"No structure in {structures}."
            if structures
            else "None of the built-in crystals is made of the model's elements; give --structures."
        )
    trimmed, report = trim(network, crystals, basis_size)
    checkpoint.save(trimmed, out, inherited(model, "trimmed", report.text()))
    for t, r2 in enumerate(report.r2):
        show.result(f"layer {t}: R² {r2:.5f}")
    show.result(f"{report.text()}\nWritten to {out}")
    show.document(report.row() | {"model": model, "out": str(out)})
    return 0
