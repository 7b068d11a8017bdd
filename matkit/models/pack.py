"""A trained model as one file that can be given to others, with what to know of it."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from matkit.derivatives import force_field
from matkit.errors import ConfigError, did_you_mean
from matkit.interfaces import Generator, Potential
from matkit.models import checkpoint
from matkit.models.shipped import MOST_BYTES

# What a card may say; the first four are what users ask for.
EXPECTED = ("description", "licence", "citation", "training_data")
TEXTS = (
    *EXPECTED,
    *("source", "notes", "level", "changed", "domain"),
    *("fine_tuned_from", "elements_seen", "valid_elements"),
)
# Files of a training run.
BEST, STATE, LOG = "model.safetensors", "checkpoint.pt", "log.csv"


@dataclass(frozen=True)
class Package:
    """A file that was written.

    Attributes:
        path: The file.
        size: Its size in bytes.
        card: What it says of the model.
    """

    path: Path
    size: int
    card: dict[str, Any]

    @property
    def missing(self) -> list[str]:
        """What users ask for and the card does not say."""
        return [key for key in EXPECTED if not self.card.get(key)]

    @property
    def fits_in_wheel(self) -> bool:
        """Whether the file is small enough to come with a package."""
        return self.size <= MOST_BYTES


def pack(run: Path, out: Path, texts: Mapping[str, Any], last: bool = False) -> Package:
    """Write a trained model in single precision, with its card.

    Args:
        run: Folder of a training run, or a model file.
        out: File to write; replaced if it is there.
        texts: What the card says, beside what the training wrote.
        last: Take the averaged weights of the last epoch of a run, not those of the best one.

    Raises:
        ConfigError: the card says what no card says, or there is no such run or epoch.
        CheckpointError: the model cannot be read.
    """
    if unknown := [key for key in texts if key not in TEXTS]:
        hint = did_you_mean(unknown[0], TEXTS)
        raise ConfigError(f"A card says nothing of {unknown[0]!r}.{hint}")
    source = run / BEST if run.is_dir() else run
    kind: type[Any] = Generator if checkpoint.kind_of(source) == "generator" else Potential
    model, metadata = checkpoint.load(source, kind)
    card = metadata["card"] | (_take_last(run, model) if last else {}) | dict(texts)
    checkpoint.save(model.float(), out, card)
    return Package(out, out.stat().st_size, card)


def _take_last(run: Path, model: Generator | Potential) -> dict[str, Any]:
    """Give a model the averaged weights of the last epoch; return what was measured of it."""
    missing = [name for name in (STATE, LOG) if not (run / name).is_file()]
    if missing:
        raise ConfigError(
            f"The last epoch is in the folder of a training run: no {', '.join(missing)} in {run}."
        )
    try:
        state = torch.load(run / STATE, map_location="cpu", weights_only=True)
        whole = model if isinstance(model, Generator) else force_field(model)
        whole.load_state_dict(state["average"])
        with (run / LOG).open(encoding="utf-8") as file:
            row = list(csv.DictReader(file))[-1]
        errors = {
            key.removeprefix("valid_"): float(value)
            for key, value in row.items()
            if key.startswith("valid_") and value
        }
        return {"epoch": int(row["epoch"]), "validation_errors": errors}
    except (
        *(EOFError, IndexError, KeyError, OSError),
        *(RuntimeError, TypeError, ValueError, pickle.UnpicklingError),
    ) as error:
        raise ConfigError(
            f"Cannot read the last epoch of {run} ({type(error).__name__}: {error}). Leave it to "
            "take the best."
        ) from error
