"""Models by name: where their weights come from, what they are, and how to load them."""

from __future__ import annotations

import atexit
import glob
import hashlib
import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import inspect
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from matkit.cache import cache_folder
from matkit.derivatives import ForceField, force_field
from matkit.elements import ATOMIC_NUMBERS, format_species
from matkit.errors import ConfigError, MissingExtraError, UnknownNameError, did_you_mean
from matkit.interfaces import Generator, Potential
from matkit.models import checkpoint
from matkit.models.shipped import DEFAULT_POTENTIAL, find_generator, shipped
from matkit.models.upgrades import FORMAT_VERSION
from matkit.options.foreign_words import answer

if TYPE_CHECKING:
    from matkit.calculator import MatkitCalculator

log = logging.getLogger(__name__)
NOT_STATED = "not stated"
# May be said instead of the name of the potential that is taken if none is named.
DEFAULT = "default"


@dataclass(frozen=True)
class ModelCard:
    """What a user should know of a model before trusting it.

    Fields that need the weights are None until these are installed.

    Attributes:
        level: Level of theory of the labels it was trained on last.
        fine_tuned_from: Model that this training began with.
        elements_seen: Elements in the structures of this training.
        valid_elements: Those whose energies fit together; all if not given.
        domain: How far a potential's training reached: how near atoms may come.
        makes: What a generator makes, crystals or molecules, and whether with coordinates.
        provides: What the network itself predicts.
        conservative: Whether its forces are the derivative of its energy; None if it has none.
    """

    name: str
    architecture: str
    available: bool
    install: str
    kind: str = "potential"
    description: str = NOT_STATED
    licence: str = NOT_STATED
    source: str = NOT_STATED
    citation: str = NOT_STATED
    training_data: str = NOT_STATED
    notes: str = ""
    level: str = ""
    fine_tuned_from: str = ""
    elements_seen: str = ""
    valid_elements: str = ""
    domain: str = ""
    makes: str = ""
    provides: str | None = None
    conservative: bool | None = None
    elements: str | None = None
    cutoff: float | None = None
    max_atoms: int | None = None
    parameters: int | None = None
    sha256: str | None = None
    path: str | None = None


def _is_conservative(potential: Potential) -> bool | None:
    if potential.provides.isdisjoint({"energy", "atom_energy"}):
        return None
    return "forces" not in potential.provides


def models() -> dict[str, ModelCard]:
    """Return the cards of all models that can be loaded by name."""
    potentials = {name: _card(name, config) for name, config in _published().items()}
    return potentials | {name: model_card(name) for name in shipped()}


def model_card(name_or_path: str | Path) -> ModelCard:
    """Return the card of one model, with everything that can be read from its weights.

    Raises:
        UnknownNameError: no model has that name.
        CheckpointError: the file cannot be read.
    """
    published = _published().get(str(name_or_path))
    if published is not None:
        card = _card(str(name_or_path), published)
        if not card.available:
            return card
    elif _is_generator(name_or_path):
        return _generator_card(find_generator(name_or_path))
    potential, metadata = _load(name_or_path)
    if published is None:
        card = _foreign_card(metadata)
    return replace(
        card,
        provides=", ".join(sorted(potential.provides)),
        conservative=_is_conservative(potential),
        elements=format_species(potential.species),
        cutoff=potential.cutoff,
        parameters=sum(p.numel() for p in potential.parameters()),
        sha256=metadata["sha256"],
        path=metadata["path"],
    )


def load(name_or_path: str | Path, any_level: bool = False) -> ForceField:
    """Load a potential with forces and stress, ready for use.

    Args:
        name_or_path: A name from `models()`, or a ``*.safetensors`` file written by matkit.
        any_level: Whether a fine-tuned model may be used for elements whose energies it has
            left at the level of its base.

    Returns:
        Potential that gives `energy`, `forces` and what the network gives besides, mostly
        `atom_energy` and `stress`, in float32 as trained; ``.double()`` makes it float64.

    Raises:
        UnknownNameError: no model has that name.
        MissingExtraError: the package that carries the weights is not installed.
        CheckpointError: the model file cannot be read.
        ModelError: the model gives no energy, or not what it declares.
    """
    return force_field(_load(name_or_path, any_level)[0]).eval()


def load_calculator(
    name_or_path: str | Path | Sequence[str | Path] = DEFAULT_POTENTIAL,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype | None = None,
    skin: float = 0.5,
    neighbors: str = "auto",
    ignore_charge: bool = False,
    any_level: bool = False,
    **foreign: Any,
) -> MatkitCalculator:
    """Load an ASE calculator.

    Args:
        name_or_path: Model name or file. Several, also as text with commas, or a pattern such as
            ``"seed-*.safetensors"``, make a committee: results are means, with `energy_var` and
            `forces_comm` beside them. The default comes with matkit; ``matkit models info`` says
            how good it is.
        device: `cpu`, `cuda`, ...; `auto` takes the GPU if there is one.
        dtype: `float32` or `float64` arithmetic; None leaves it to what is computed (`md` takes
            float32, all else of `matkit.simulate`, vibrations, phonons and transition states
            float64) and is the model's own type elsewhere.
        skin: Extra reach of the neighbour list in Å, so that it is reused while atoms move.
        neighbors: Neighbour search, see `matkit.neighbors.radius_graph`.
        ignore_charge: Compute structures with a charge or multiplicity that the model does not
            take into account as neutral singlets; else they are refused.
        any_level: See `load`.
        **foreign: Nothing; words of other programs are answered with those of matkit.

    Raises:
        UnknownNameError: no model has that name, it is a generator, or no file fits the pattern.
        ConfigError: no model is named, device or type are none, or an argument is unknown.
        MissingExtraError: the package that carries the weights is not installed.
        CheckpointError: a model file cannot be read.
        ModelError: a model gives no energies and forces, or not what it declares.
    """
    from matkit.calculator import MatkitCalculator

    _refuse_foreign(foreign)
    names = _expand(name_or_path)
    if not names:
        raise ConfigError("Expected at least one model, got none. Name one.")
    loaded = [_load(name, any_level) for name in names]
    for name, (_, metadata) in zip(names, loaded, strict=True):
        if any_level and (level := valid_elements(metadata["card"])):
            log.warning("Energies of %s are good for %s only.", name, format_species(level))
    info = {"model": ", ".join(map(str, names)), **_summary(loaded[0][1])}
    info["sha256"] = ", ".join(metadata["sha256"] for _, metadata in loaded)
    potentials = [force_field(potential).eval() for potential, _ in loaded]
    for name, potential in zip(names, potentials, strict=True):
        if not potential.conservative:
            log.warning(
                "Forces of %s are predicted, not derivatives of its energy (conservative: false): "
                "energies drift in dynamics, and relaxations may not end in a minimum.",
                name,
            )
    return MatkitCalculator(potentials, device, dtype, skin, neighbors, info, ignore_charge)


def _refuse_foreign(words: Mapping[str, Any]) -> None:
    known = list(inspect.signature(load_calculator).parameters)[:-1]
    said = [f"Unknown argument {w!r}.{answer(w) or did_you_mean(w, known)}" for w in words]
    if said:
        raise ConfigError(" ".join(said))


def load_generator(
    name_or_path: str | Path | None = None, device: str | torch.device = "auto"
) -> tuple[Generator, dict[str, Any]]:
    """Load a generator of crystals that is ready to draw, and what is known of it.

    Args:
        name_or_path: A name from `models()`, or a ``*.safetensors`` file written by
            ``matkit train``; None for the most general generator that comes with matkit.
        device: `cpu`, `cuda`, ...; `auto` takes the GPU if there is one.

    Raises:
        UnknownNameError: there is no such name or file, it is a potential, or none comes with
            matkit.
        CheckpointError: the file cannot be read.
    """
    from matkit.devices import find_device

    if str(name_or_path) in _published():
        raise _not_a_generator(str(name_or_path))
    path = find_generator(name_or_path)
    if checkpoint.kind_of(path) != "generator":
        raise _not_a_generator(str(name_or_path))
    generator, metadata = checkpoint.load(path, Generator)
    known = {key: metadata[key] for key in ("model", "sha256")}
    known |= {"name": path.stem, "path": str(path)}
    return generator.to(find_device(device)), known | metadata["card"]


def _is_generator(name_or_path: str | Path) -> bool:
    """Return whether a name or file is one of a generator; what cannot be read is none."""
    path = shipped().get(str(name_or_path), Path(name_or_path))
    return path.is_file() and checkpoint.kind_of(path) == "generator"


def _not_a_generator(name: str) -> UnknownNameError:
    return UnknownNameError(
        f"Expected a generator of crystals, but {name} is a potential: it relaxes what a generator "
        f"draws (--relax). Generators: {', '.join(shipped('generator'))}."
    )


def _expand(given: str | Path | Sequence[str | Path]) -> list[str | Path]:
    if not isinstance(given, str | Path):
        return [name for item in given for name in _expand(item)]
    if "," in str(given) and not Path(given).is_file():
        return _expand([part.strip() for part in str(given).split(",")])
    if str(given) == DEFAULT and not Path(given).is_file():
        return [DEFAULT_POTENTIAL]
    if not glob.has_magic(str(given)):
        return [given]
    found = sorted(glob.glob(str(given)))
    if not found:
        raise UnknownNameError(f"No model file fits {str(given)!r}.")
    return list(found)


def _summary(metadata: dict[str, Any]) -> dict[str, Any]:
    card = metadata["card"]
    domain = {"domain": card["domain"]} if isinstance(card.get("domain"), Mapping) else {}
    return {k: card.get(k, NOT_STATED) for k in ("licence", "source", "training_data")} | domain


def _load(name_or_path: str | Path, any_level: bool = False) -> tuple[Potential, dict[str, Any]]:
    name, published = str(name_or_path), _published()
    if name in published:
        path = _converted(name, published[name])
    elif name in shipped():
        path = shipped()[name]
    elif Path(name).suffix or Path(name).is_file():
        path = Path(name)
    else:
        known = {*published, *shipped("potential")}
        raise UnknownNameError(
            f"Unknown model {name!r}, and no such file.{did_you_mean(name, known)}"
        )
    if name not in published and _is_generator(path):
        raise UnknownNameError(
            f"Expected a potential, but {name} is a generator of crystals: draw with it by "
            f"`matkit generate`. Potentials: {', '.join({**published, **shipped('potential')})}."
        )
    potential, metadata = checkpoint.load(path)
    potential.one_level = None if any_level else valid_elements(metadata["card"])
    return potential, metadata | {"path": str(path)}


def valid_elements(card: Mapping[str, Any]) -> frozenset[int] | None:
    """Return the elements whose energies fit together, as a card says; None if all do."""
    words = str(card.get("valid_elements", "")).replace(",", " ").split()
    return frozenset(ATOMIC_NUMBERS[word] for word in words if word in ATOMIC_NUMBERS) or None


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


def _published() -> dict[str, dict[str, Any]]:
    """Return the configs that say where their weights are, by name."""
    return {name: config for name, config in configurations().items() if "weights" in config}


def _card(name: str, config: dict[str, Any]) -> ModelCard:
    card = ModelCard(
        name=name,
        architecture=config["model"]["name"],
        available=_weights(config) is not None,
        install=config["weights"]["install"],
    )
    return _described(card, config)


def _foreign_card(metadata: dict[str, Any]) -> ModelCard:
    name = Path(metadata["path"]).stem
    card = ModelCard(name=name, architecture=metadata["model"], available=True, install="")
    return _described(card, metadata["card"])


def _generator_card(path: Path) -> ModelCard:
    """Return the card in the file of a generator."""
    generator, metadata = checkpoint.load(path, Generator)
    card = ModelCard(path.stem, metadata["model"], available=True, install="", kind="generator")
    return replace(
        _described(card, metadata["card"]),
        makes=f"{generator.domain}s ({generator.outputs})",
        elements=format_species(generator.species),
        max_atoms=generator.max_atoms,
        parameters=sum(p.numel() for p in generator.parameters()),
        sha256=metadata["sha256"],
        path=str(path),
    )


def _described(card: ModelCard, texts: Mapping[str, Any]) -> ModelCard:
    known = (
        *("description", "licence", "source", "citation", "training_data", "notes"),
        *("level", "fine_tuned_from", "elements_seen", "valid_elements"),
    )
    given: dict[str, Any] = {key: str(texts[key]).strip() for key in known if key in texts}
    if isinstance(domain := texts.get("domain"), Mapping):
        given["domain"] = "; ".join(f"{key}: {value}" for key, value in domain.items())
    return replace(card, **given)


def _weights(config: dict[str, Any]) -> Path | None:
    """Return the weights inside the installed package that carries them, if it is there."""
    spec = importlib.util.find_spec(config["weights"]["package"])
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / config["weights"]["file"]
    return path if path.is_file() else None


def _converted(name: str, config: dict[str, Any]) -> Path:
    """Return the model file in the user's cache, converting the published weights once."""
    weights = _weights(config)
    package = config["weights"]["package"]
    if weights is None:
        raise MissingExtraError(
            f"The weights of {name} come with the package {package!r}, which is not installed (or "
            f"too old to carry them). Install it: {config['weights']['install']}"
        )
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
    path = (
        (cache_folder() or _temporary())
        / "models"
        / f"{name}-v{FORMAT_VERSION}-{digest}.safetensors"
    )
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
