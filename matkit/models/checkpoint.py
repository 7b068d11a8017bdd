"""Model files: safetensors with the architecture as JSON; nothing in them is executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

import safetensors
import safetensors.torch
from torch import Tensor

from matkit import __version__
from matkit.derivatives import ForceField
from matkit.elements import format_species
from matkit.errors import CheckpointError, MatkitError
from matkit.interfaces import Generator, Potential
from matkit.models.building import Model, build
from matkit.models.files import NoLargerThan, check_fit, check_tensors, parse
from matkit.models.upgrades import FORMAT_VERSION, Content, upgraded
from matkit.runs.atomic import write_atomically

__all__ = ["build", "kind_of", "load", "save"]


def save(
    model: Potential | Generator, path: str | Path, card: Mapping[str, Any] | None = None
) -> Path:
    """Write a model file.

    Args:
        model: Network made by `build`, or read from a file.
        path: File to write, by custom ``*.safetensors``; replaced in one step.
        card: What a user should know: licence, source, training data, citation, ...

    Raises:
        CheckpointError: the model was not made by `build`, so its recipe is unknown.
    """
    if isinstance(model, ForceField):
        model = model.network
    recipe = model.recipe
    if recipe is None:
        raise CheckpointError(
            f"Only models made by matkit.models.checkpoint.build can be saved; this "
            f"{type(model).__name__} was constructed directly and its arguments are unknown."
        )
    metadata = {
        "format_version": FORMAT_VERSION,
        "model": recipe[0],
        "hyperparameters": recipe[1],
        "elements": format_species(model.species),
        **_size(model),
        "units": {"energy": "eV", "length": "Å"},
        "package_version": __version__,
        "card": dict(card or {}),
    }
    tensors = {key: value.contiguous().cpu() for key, value in model.state_dict().items()}
    data = safetensors.torch.save(tensors, {"matkit": json.dumps(metadata, ensure_ascii=False)})
    return write_atomically(Path(path), data)


@overload
def load(path: str | Path) -> tuple[Potential, dict[str, Any]]: ...
@overload
def load(path: str | Path, kind: type[Model]) -> tuple[Model, dict[str, Any]]: ...
def load(path: str | Path, kind: type[Any] = Potential) -> tuple[Any, dict[str, Any]]:
    """Read a model file.

    Args:
        path: File.
        kind: `Potential` or `Generator`.

    Returns:
        The network in evaluation mode, and the file's metadata with its `sha256`.

    Raises:
        CheckpointError: the file is missing, truncated, foreign, a pickle, of a newer format, or
            of the other kind.
    """
    path = Path(path)
    metadata, tensors = upgraded(_read(path), path)
    held, wanted = metadata.get("kind", "potential"), kind.__name__.lower()
    if held != wanted:
        raise CheckpointError(
            f"{path} holds a {held}; read it with matkit.models.checkpoint.load(path, "
            f"{held.capitalize()})."
        )
    check_tensors(tensors, path)
    model = _built(metadata, tensors, path, kind)
    check_fit(tensors, model, path)
    try:
        model.load_state_dict(tensors, assign=True)  # keeps the stored precision
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its own description: {error}") from error
    metadata["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return model.eval(), metadata


def kind_of(path: Path) -> str:
    """Return what a model file holds, `potential` or `generator`.

    Raises:
        CheckpointError: the file cannot be read.
    """
    return str(_read(path)[0].get("kind", "potential"))


def _size(model: Potential | Generator) -> dict[str, Any]:
    """Return how far a potential sees, or how large a generator's crystals may be."""
    if isinstance(model, Generator):
        return {"kind": "generator", "max_atoms": model.max_atoms}
    return {"cutoff": model.cutoff}


def _built(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    path: Path,
    kind: type[Model],
) -> Model:
    """Build the network of a description, which may say anything."""
    try:
        with NoLargerThan(tensors, path):
            model = build(metadata["model"], metadata["hyperparameters"], kind)
        own = {"elements": format_species(model.species), **_size(model)}
    except MatkitError:
        raise
    except Exception as error:  # constructors expect what configurations may say
        raise CheckpointError(
            f"{path} describes a network that cannot be built ({type(error).__name__}: {error}). "
            "Copy or download it again."
        ) from error
    said = {key: metadata[key] for key in own if metadata.get(key) is not None}
    if any(own[key] != value for key, value in said.items()):
        raise CheckpointError(f"{path} contradicts itself: it says {said}, its network {own}.")
    return model


def _read(path: Path) -> Content:
    if not path.is_file():
        raise CheckpointError(f"No model file at {path}.")
    _refuse_pickle(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 not a dict
    except Exception as error:  # safetensors raises its own type, OSError and others
        raise CheckpointError(
            f"{path} is damaged or truncated, or not a safetensors file: {error}. Copy or download "
            "it again."
        ) from error
    if "matkit" not in header:
        raise CheckpointError(
            f"{path} is a safetensors file of another program (no matkit description in it)."
        )
    return parse(header["matkit"], path), tensors


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(9)
    # A safetensors file begins with eight bytes of any length, then JSON.
    if start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
        raise CheckpointError(
            f"{path} is a pickled PyTorch file. Loading it could run any program, so matkit does "
            "not; it reads *.safetensors written by matkit. MACE's files can be converted: matkit "
            f"models convert {path.name} out.safetensors. Other models load by name: see `matkit "
            "models list`."
        )
