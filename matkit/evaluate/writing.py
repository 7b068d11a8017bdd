"""Structures with predictions beside their labels, as extended XYZ."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from matkit.data.ase import to_ase
from matkit.data.dataset import Dataset, located_atoms
from matkit.data.labels import LABELS, keys_of
from matkit.errors import ConfigError
from matkit.evaluate.comparison import Evaluation
from matkit.evaluate.options import PREFIX
from matkit.geometry import to_voigt
from matkit.interfaces import Properties
from matkit.runs.text_files import TextFile, append_frame

if TYPE_CHECKING:
    from ase import Atoms


def read_frames(
    paths: Iterable[str | Path], dataset: Dataset, format: str | None = None
) -> list[Atoms]:
    """Return the structures of a data set as they are in their files, with everything they carry.

    Args:
        paths: Files that `matkit.data.dataset.read_dataset` read.
        dataset: What was read, or a part of it in the same order.
        format: See `matkit.data.reading.entries_of`.
    """
    wanted, others = set(dataset.sources), list[str]()
    located = located_atoms(paths, format, others)
    return [atoms for atoms, file, i in located if f"{file}[{i}]" in wanted]


def labelled_frames(dataset: Dataset) -> Iterator[Atoms]:
    """Give the structures of a data set, with labels as `REF_energy`, ... in eV and Å.

    For data sets whose files are not at hand, such as converted ones.
    """
    for i, source in enumerate(dataset.sources):
        part = dataset.structures.index([i])
        (atoms,) = to_ase(part.replace(atom={}, system={}))
        labels = {
            "energy": part.system["energy"][0].numpy(),
            "forces": part.atom["forces"].numpy(),
            "stress": to_voigt(part.system["stress"])[0].numpy(),
        }
        _attach(atoms, "REF_", labels)
        for key in part.system.keys() & {"charge", "spin"}:
            atoms.info[key] = float(part.system[key][0])
        atoms.info |= {"config_type": dataset.config_types[i], "source": source}
        yield atoms


def check_prefix(frames: Iterable[Atoms], prefix: str) -> None:
    """Check that predictions under a prefix replace nothing that the structures carry.

    Raises:
        ConfigError: the prefix is no name, or there is something under one of its names.
    """
    if not re.fullmatch(r"[A-Za-z]\w*", prefix):
        raise ConfigError(
            f"Expected a prefix of letters, digits and underscores such as {PREFIX!r}, got "
            f"{prefix!r}."
        )
    names = {prefix + label + end for label in LABELS for end in ("", "_std")}
    for i, atoms in enumerate(frames):
        if taken := names & keys_of(atoms):
            raise ConfigError(
                f"Predictions would replace {', '.join(sorted(taken))} of structure {i}. Choose "
                "another prefix."
            )


def write_predictions(
    path: str | Path, frames: Iterable[Atoms], evaluation: Evaluation, prefix: str = PREFIX
) -> None:
    """Write structures as they are, with predictions added under a prefix.

    Energies are ``info[prefix + "energy"]`` in eV, forces ``arrays[prefix + "forces"]`` in eV/Å
    and stresses ``info[prefix + "stress"]`` in eV/Å³ (xx, yy, zz, yz, xz, xy; only where they
    are defined). Those of a committee have their deviations beside them, as ``energy_std`` and so
    on. The file appears when it is complete.

    Args:
        path: File; an older one is replaced.
        frames: The structures that were evaluated, in the same order. Not changed.
        evaluation: Predictions.
        prefix: Beginning of the names.

    Raises:
        ConfigError: the prefix is no name, or a structure has something under one of the names.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    start = 0
    try:
        with TextFile(part) as file:
            energies = evaluation.prediction["energy"]
            for i, (atoms, _) in enumerate(zip(frames, energies, strict=True)):
                check_prefix([atoms], prefix)
                rows = range(start, start + len(atoms))
                append_frame(file, _with_prediction(atoms, evaluation, i, rows, prefix))
                start = rows.stop
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _with_prediction(
    atoms: Atoms, evaluation: Evaluation, i: int, rows: range, prefix: str
) -> Atoms:
    """Return a copy of structure `i`, whose atoms are `rows`, with its prediction."""
    copy = atoms.copy()
    copy.calc = atoms.calc
    _attach(copy, prefix, _of_structure(evaluation.prediction, i, rows))
    if evaluation.deviation is not None:
        deviation = _of_structure(evaluation.deviation, i, rows)
        _attach(copy, prefix, {f"{label}_std": value for label, value in deviation.items()})
    return copy


def _of_structure(values: Properties, i: int, rows: range) -> dict[str, np.ndarray]:
    return {
        "energy": values["energy"][i].numpy(),
        "forces": values["forces"][rows.start : rows.stop].numpy(),
        "stress": to_voigt(values["stress"][i]).numpy(),
    }


def _attach(atoms: Atoms, prefix: str, values: Mapping[str, np.ndarray]) -> None:
    """Put what is a number into `atoms` under the prefix."""
    for label, value in values.items():
        if not np.isfinite(value).all():
            continue
        if label.startswith("forces"):
            atoms.set_array(prefix + label, value)
        else:
            atoms.info[prefix + label] = value if value.ndim else float(value)
