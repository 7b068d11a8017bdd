"""Model files of other programs, which are pickles: read as data, and converted once."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from matkit.errors import CheckpointError
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.models.files import NoLargerThan, check_tensors
from matkit.models.foreign import mace
from matkit.models.published import converted_models
from matkit.models.upgrades import FORMAT_VERSION

# Licences of MACE's releases as mace-torch 0.3.16 names them, told by words in the names of files.
ACADEMIC = "ASL (Academic Software License: no commercial use)"
LICENCES = {
    **dict.fromkeys(("maceoff", "maceomat", "macematpes"), ACADEMIC),
    **dict.fromkeys(("macemp", "20231210mace", "20231203mace"), "MIT"),
}


class Conversion(NamedTuple):
    """A model of another program, in matkit's form.

    Attributes:
        network: The network.
        card: What is known of it.
    """

    network: Potential
    card: dict[str, Any]


def is_pickled(path: str | Path) -> bool:
    """Return whether a file is a pickle of PyTorch, and so not of matkit."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        start = stream.read(9)
    # A safetensors file begins with eight bytes of any length, then JSON.
    return start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80")


def heads(path: str | Path) -> list[str]:
    """Return the names of the heads in a file of another program.

    Raises:
        CheckpointError: it cannot be read.
    """
    path = Path(path)
    _check_readable(path)
    return mace.read(path).heads


def convert(path: str | Path, head: str | None = None) -> Conversion:
    """Read a model file of another program; nothing in it is executed.

    Args:
        path: File of MACE: a pickled module, or weights with their settings beside them.
        head: Name of the head to take; may be left out if there is one.

    Raises:
        CheckpointError: the file is damaged, no such model, or has parts that are not read.
        ConfigError: there is no such head, or none is named among several.
    """
    path = Path(path)
    _check_readable(path)
    name, settings, tensors, names = mace.convert(path, head)
    check_tensors(tensors, path)
    with NoLargerThan(tensors, path):
        network = checkpoint.build(name, settings)
    network = network.to(tensors["embedding.weight"].dtype)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit the network that it describes: {error}."
        ) from error
    return Conversion(network.eval(), _card(path, head or names[0], names))


def converted_file(path: str | Path, head: str | None = None) -> Path:
    """Return the file in the user's cache that a model was converted to, as by `convert`.

    Raises:
        CheckpointError, ConfigError: see `convert`.
    """
    path = Path(path)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    for beside in mace.settings_files(path):
        digest.update(beside.read_bytes())
    digest.update((head or "").encode())
    name = f"{path.stem}-v{FORMAT_VERSION}-{digest.hexdigest()[:12]}.safetensors"
    target = converted_models() / name
    if not target.is_file():
        network, card = convert(path, head)
        checkpoint.save(network, target, card)
    return target


def _card(path: Path, head: str, names: list[str]) -> dict[str, Any]:
    card = {
        "description": f"MACE model converted from {path.name}",
        "source": f"{path.name}, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}",
        "citation": "Batatia et al., NeurIPS 35 (2022), arXiv:2206.07697",
        "head": head,
    }
    if len(names) > 1:
        card["notes"] = f"Head {head!r} of {', '.join(names)}; the others were left out."
    word = "".join(filter(str.isalnum, path.stem.lower()))
    licence = next((text for key, text in LICENCES.items() if key in word), None)
    return card | ({"licence": f"{licence}, by the name of the file"} if licence else {})


def _check_readable(path: Path) -> None:
    """Refuse files without a description as data, and say what to do.

    Raises:
        CheckpointError: there is none, it is compiled, or of an old format.
    """
    if not path.is_file():
        raise CheckpointError(f"No model file at {path}.")
    if not is_pickled(path):
        raise CheckpointError(
            f"{path} is no file of PyTorch; matkit converts MACE's *.model files. Its own "
            "*.safetensors files need no conversion."
        )
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is a pickle in the format before PyTorch 1.6, or truncated; load it with "
            "mace-torch and save it again by torch.save, or download it again."
        )
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise CheckpointError(
            f"{path} is compiled (TorchScript): a program that matkit does not run. Convert the "
            "file it was compiled from, by name without _compiled or -lammps."
        )
