"""Models whose weights come with matkit: files of the folder matkit/models/weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matkit.errors import UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from matkit.interfaces.generator import Domain

FOLDER = Path(__file__).parent / "weights"
# A wheel is no place for larger files.
MOST_BYTES = 8_000_000
# The potential that is taken if none is named.
DEFAULT_POTENTIAL = "nequip-universal"
# Taken if no generator is named: the first of a domain that is there, the most general one first.
PREFERRED: dict[Domain, tuple[str, ...]] = {
    "crystal": ("crystalflow-mp20", "crystalflow-perov5"),
    "molecule": ("moleculeflow-qm9",),
}
HOW_TO_TRAIN = "Train one: matkit train --config CONFIG --train-file FILE, with a CONFIG such as "
CONFIGS: dict[Domain, str] = {
    "crystal": "configs/training/perov5-csp.yaml",
    "molecule": "configs/generative/moleculeflow.yaml",
}


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


def find_generator(name_or_path: str | Path | None, domain: Domain = "crystal") -> Path:
    """Return the file of a generator.

    Args:
        name_or_path: Name or file; None for one that comes with matkit.
        domain: What it makes, if there is no name.

    Raises:
        UnknownNameError: there is no such name or file, or nothing comes with matkit.
    """
    known = shipped()
    if name_or_path is None:
        return _preferred(known, domain)
    name, path = str(name_or_path), Path(name_or_path)
    if name in known:
        return known[name]
    if not path.is_file():
        hint = did_you_mean(name, shipped("generator"))
        message = (
            f"Unknown generator {name!r}, and no such file.{hint} {HOW_TO_TRAIN}{CONFIGS[domain]}"
        )
        raise UnknownNameError(message)
    return path


def _preferred(known: dict[str, Path], domain: Domain) -> Path:
    for name in PREFERRED[domain]:
        if name in known:
            return known[name]
    raise UnknownNameError(
        f"Expected the name or the file of a generator of {domain}s (--model): this installation "
        f"has none of {', '.join(PREFERRED[domain])} in {FOLDER}. {HOW_TO_TRAIN}{CONFIGS[domain]}"
    )
