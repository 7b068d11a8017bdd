"""What a user should know of a model before trusting it."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matkit.elements import format_species
from matkit.interfaces import Generator, Potential
from matkit.models import checkpoint
from matkit.models.building import GROUPS, model_class, model_names
from matkit.models.physics_numbers import physics_of
from matkit.models.pickled import heads, is_pickled
from matkit.models.published import published, weights_of
from matkit.models.shipped import find_generator, shipped
from matkit.models.sources import is_generator, read_potential

NOT_STATED = "not stated"
# What a model that was made from another one inherits of its card.
INHERITED = ("licence", "source", "citation", "training_data")


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
        physics: How far it is from others on physics, as far as that was measured.
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
    physics: str = ""
    makes: str = ""
    provides: str | None = None
    conservative: bool | None = None
    elements: str | None = None
    cutoff: float | None = None
    max_atoms: int | None = None
    parameters: int | None = None
    sha256: str | None = None
    path: str | None = None


def models() -> dict[str, ModelCard]:
    """Return the cards of all models that have a name: with weights, then architectures."""
    potentials = {name: _card(name, config) for name, config in published().items()}
    trained = potentials | {name: model_card(name) for name in shipped()}
    return trained | {k: card for k, card in architectures().items() if k not in trained}


def architectures() -> dict[str, ModelCard]:
    """Return the cards of all networks that can be trained, those of plug-ins too."""
    kinds: tuple[type[Any], ...] = (Potential, Generator)
    return {name: _architecture(name, kind) for kind in kinds for name in model_names(kind)}


def _architecture(name: str, kind: type[Any]) -> ModelCard:
    """Return the card of a network without weights."""
    cls = model_class(name, kind)
    text = inspect.getdoc(cls) or ""
    card = ModelCard(
        name=name,
        architecture=name,
        available=False,
        install=f"training: matkit train --model {name}",
        kind=f"{kind.__name__.lower()}, untrained",
        description=text.partition("\n")[0],
        source=_distribution(name, GROUPS[kind]),
    )
    if issubclass(cls, Generator):
        return replace(card, makes=f"{cls.domain}s ({cls.outputs})")
    provides = cls.provides if isinstance(cls.provides, frozenset) else frozenset()
    return replace(card, provides=", ".join(sorted(provides)))


def _distribution(name: str, group: str) -> str:
    """Return the distribution that a network comes with."""
    points = importlib.metadata.entry_points(group=group, name=name)
    owners = [point.dist.name for point in points if point.dist is not None]
    return owners[0] if owners else "matkit"


def model_card(name_or_path: str | Path) -> ModelCard:
    """Return the card of one model, with everything that can be read from its weights.

    Raises:
        UnknownNameError: no model has that name.
        CheckpointError: the file cannot be read.
    """
    config = published().get(str(name_or_path))
    if config is not None:
        card = _card(str(name_or_path), config)
        if not card.available:
            return card
    elif is_generator(name_or_path):
        return _generator_card(find_generator(name_or_path))
    elif str(name_or_path) in (known := architectures()):
        return known[str(name_or_path)]
    # Of several heads the first one stands for the file; the card names all.
    head = heads(name_or_path)[0] if is_pickled(name_or_path) else None
    potential, metadata = read_potential(name_or_path, head=head)
    if config is None:
        card = _foreign_card(metadata)
    return replace(
        card,
        physics=physics_of(card.name, metadata["sha256"]),
        provides=", ".join(sorted(potential.provides)),
        conservative=_is_conservative(potential),
        elements=format_species(potential.species),
        cutoff=potential.cutoff,
        parameters=sum(p.numel() for p in potential.parameters()),
        sha256=metadata["sha256"],
        path=metadata["path"],
    )


def inherited(name_or_path: str | Path, change: str, notes: str) -> dict[str, str]:
    """Return the texts of a model that was made from another one by some change."""
    card = model_card(name_or_path)
    texts = {key: getattr(card, key) for key in INHERITED}
    return texts | {
        "description": f"{card.name}, {change}",
        "notes": f"{card.notes} {notes}".strip(),
    }


def _is_conservative(potential: Potential) -> bool | None:
    if potential.provides.isdisjoint({"energy", "atom_energy"}):
        return None
    return "forces" not in potential.provides


def _card(name: str, config: dict[str, Any]) -> ModelCard:
    card = ModelCard(
        name=name,
        architecture=config["model"]["name"],
        available=weights_of(config) is not None,
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
