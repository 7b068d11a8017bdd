"""Published models: their configurations, and weights that come with other packages."""

from __future__ import annotations

import atexit
import hashlib
import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import logging
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from matkit.cache import cache_folder
from matkit.errors import MissingExtraError
from matkit.models import checkpoint
from matkit.models.upgrades import FORMAT_VERSION

log = logging.getLogger(__name__)


def configurations(kind: str = "potentials") -> dict[str, dict[str, Any]]:
    """Return the configurations that come with matkit, by name.

    Each has ``model`` with the name of its architecture and the hyper-parameters; those of
    published models say under ``weights`` where these are.

    Args:
        kind: Folder of the configurations: `potentials` or `generative`.
    """
    folder = Path(str(importlib.resources.files("matkit"))) / "configs" / kind
    files = sorted(folder.glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in files}


def published() -> dict[str, dict[str, Any]]:
    """Return the configs that say where their weights are, by name."""
    return {name: config for name, config in configurations().items() if "weights" in config}


def weights_of(config: dict[str, Any]) -> Path | None:
    """Return the weights inside the installed package that carries them, if it is there."""
    spec = importlib.util.find_spec(config["weights"]["package"])
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / config["weights"]["file"]
    return path if path.is_file() else None


def converted(name: str, config: dict[str, Any]) -> Path:
    """Return the model file in the user's cache, converting the published weights once.

    Raises:
        MissingExtraError: the package that carries the weights is not installed.
    """
    weights = weights_of(config)
    package = config["weights"]["package"]
    if weights is None:
        raise MissingExtraError(
            f"The weights of {name} come with the package {package!r}, which is not installed (or "
            f"too old to carry them). Install it: {config['weights']['install']}"
        )
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
    path = converted_models() / f"{name}-v{FORMAT_VERSION}-{digest}.safetensors"
    if not path.is_file():
        _convert(weights, config, path)
        log.warning(
            "Converted the weights of %s from package %s %s (licence: %s) to %s",
            name,
            package,
            importlib.metadata.version(package),
            config["licence"],
            path,
        )
    return path


def converted_models() -> Path:
    """Return the folder of converted models, in the user's cache."""
    return (cache_folder() or _temporary()) / "models"


@lru_cache
def _temporary() -> Path:
    """Return a folder for this process, where there is no cache."""
    folder = Path(tempfile.mkdtemp(prefix="matkit-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _convert(weights: Path, config: dict[str, Any], path: Path) -> None:
    converter = importlib.import_module(f"matkit.models.foreign.{config['weights']['converter']}")
    model, hyperparameters, tensors = converter.convert(weights)
    potential = checkpoint.build(model, hyperparameters)
    potential.load_state_dict(tensors)
    card = {key: value for key, value in config.items() if isinstance(value, str)}
    checkpoint.save(potential, path, card)
