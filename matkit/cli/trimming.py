"""``matkit trim``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matkit.cli.display import Display
from matkit.errors import StructureError
from matkit.models import cards, checkpoint, zoo
from matkit.models.trim import default_crystals, trim
from matkit.runs.locking import alone
from matkit.runs.text_files import refuse_existing
from matkit.simulate.reading import read_frames

# What the trimmed model inherits of the card of the original.
INHERITED = ("licence", "source", "citation", "training_data")


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
    checkpoint.save(trimmed, out, _card(model, report.text()))
    for t, r2 in enumerate(report.r2):
        show.result(f"layer {t}: R² {r2:.5f}")
    show.result(f"{report.text()}\nWritten to {out}")
    show.document(report.row() | {"model": model, "out": str(out)})
    return 0


def _card(model: str, notes: str) -> dict[str, Any]:
    card = cards.model_card(model)
    texts = {key: getattr(card, key) for key in INHERITED}
    return texts | {
        "description": f"{card.name}, trimmed",
        "notes": f"{card.notes} {notes}".strip(),
    }
