"""Pickled PyTorch modules, of which only data was read: weights, names of classes, attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from matkit.errors import CheckpointError
from matkit.models.safe_unpickle import Opaque

# Modules in one file; the largest network has a tenth of it.
MOST_MODULES = 5_000


class Module(NamedTuple):
    """A tree of modules.

    Attributes:
        tensors: Parameters and buffers by their full name.
        classes: Names of the modules' classes, without their package; that of the whole is at "".
        attributes: The modules' other attributes.
    """

    tensors: dict[str, Tensor]
    classes: dict[str, str]
    attributes: dict[str, dict[str, Any]]


def flattened(root: Opaque, path: Path) -> Module:
    """Return the modules of a tree.

    Raises:
        CheckpointError: it is endless.
    """
    found = Module({}, {}, {})
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        place, module = waiting.pop()
        if not isinstance(module, Opaque):
            continue
        if len(found.classes) >= MOST_MODULES:
            raise CheckpointError(f"{path} is damaged: it has more than {MOST_MODULES:,} modules.")
        state = module.attributes
        prefix = f"{place}." if place else ""
        found.classes[place] = module.source.rpartition(".")[2]
        found.attributes[place] = state
        for kind in ("_parameters", "_buffers"):
            for name, tensor in _entries(state, kind):
                if isinstance(tensor, Tensor):
                    found.tensors[f"{prefix}{name}"] = tensor
        waiting += [(f"{prefix}{name}", child) for name, child in _entries(state, "_modules")]
    return found


def _entries(state: dict[Any, Any], key: str) -> list[tuple[Any, Any]]:
    entries = state.get(key)
    return list(entries.items()) if isinstance(entries, dict) else []
