"""Models whose weights come with matkit: files of the folder matkit/models/weights."""

from __future__ import annotations

from pathlib import Path

from matkit.errors import UnknownNameError, did_you_mean

FOLDER = Path(__file__).parent / "weights"
# A wheel is no place for larger files.
MOST_BYTES = 8_000_000
# The potential that is taken if none is named.
DEFAULT_POTENTIAL = "nequip-universal"
# Taken if no generator is named: the first of these that is there, the most general one first.
PREFERRED = ("crystalflow-mp20", "crystalflow-perov5")
HOW_TO_TRAIN = "Train one: matkit train --config configs/training/perov5-csp.yaml --train-file FILE"


def shipped(kind: str | None = None) -> dict[str, Path]:
    """Return the model files that come with matkit, by name.

    Args:
        kind: `potential` or `generator`; None for both.
    """
    files = {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}
    if kind is None:
        return files
    from matkit.models.checkpoint import kind_of  # which needs torch

    return {name: path for name, path in files.items() if kind_of(path) == kind}


def find_generator(name_or_path: str | Path | None) -> Path:
    """Return the file of a generator.

    Args:
        name_or_path: Name or file; None for one that comes with matkit.

    Raises:
        UnknownNameError: there is no such name or file, or nothing comes with matkit.
    """
    known = shipped()
    if name_or_path is None:
        return _preferred(known)
    name, path = str(name_or_path), Path(name_or_path)
    if name in known:
        return known[name]
    if not path.is_file():
        hint = did_you_mean(name, shipped("generator"))
        message = f"Unknown generator {name!r}, and no such file.{hint} {HOW_TO_TRAIN}"
        raise UnknownNameError(message)
    return path


def _preferred(known: dict[str, Path]) -> Path:
    for name in PREFERRED:
        if name in known:
            return known[name]
    raise UnknownNameError(
        "Expected the name or the file of a generator (--model): this installation has none of "
        f"{', '.join(PREFERRED)} in {FOLDER}. {HOW_TO_TRAIN}"
    )
