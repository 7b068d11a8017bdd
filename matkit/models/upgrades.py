"""Older formats of model files, turned into the present one step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from matkit.errors import CheckpointError

FORMAT_VERSION = 2
Content = tuple[dict[str, Any], dict[str, Tensor]]


def _references(content: Content) -> Content:
    """Format 1 had reference energies among the hyper-parameters too, and called them otherwise."""
    metadata, tensors = content
    settings = _without_references(metadata["hyperparameters"])
    renamed = {
        name.replace("scale_shift.", "references."): tensor for name, tensor in tensors.items()
    }
    return {**metadata, "hyperparameters": settings, "format_version": 2}, renamed


def _without_references(settings: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in settings.items() if key not in ("scale", "shift")}
    if isinstance(inner := rest.get("backbone"), Mapping):
        rest["backbone"] = _without_references(inner)
    return rest


# UPGRADES[v] turns the content of format v into that of format v + 1.
UPGRADES: dict[int, Callable[[Content], Content]] = {1: _references}


def upgraded(content: Content, path: Path) -> Content:
    """Return the content of a file in the present format.

    Raises:
        CheckpointError: the format is newer than this matkit, or was never released.
    """
    version = content[0].get("format_version", 0)
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {version}, this matkit reads up to {FORMAT_VERSION}. Update: "
            "pip install --upgrade matkit"
        )
    for step in range(version, FORMAT_VERSION):
        if step not in UPGRADES:
            raise CheckpointError(f"{path} has format {version}, which was never released.")
        content = UPGRADES[step](content)
    return content
