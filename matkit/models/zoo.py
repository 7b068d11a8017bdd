"""Models by name or file, ready for use."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from matkit.derivatives import ForceField, force_field
from matkit.dispersion import double_counting, with_dispersion
from matkit.elements import format_species
from matkit.errors import ConfigError, did_you_mean
from matkit.interfaces import Generator, PropertyModel
from matkit.interfaces.generator import Domain
from matkit.models import checkpoint
from matkit.models.cards import NOT_STATED
from matkit.models.published import published
from matkit.models.shipped import DEFAULT_POTENTIAL, find_generator
from matkit.models.sources import expand, not_a_generator, read_potential, valid_elements
from matkit.models.symmetrized import parse_symmetrization, symmetric_potential
from matkit.options import DISPERSION_FUNCTIONAL
from matkit.options.foreign_words import answer

if TYPE_CHECKING:
    from matkit.calculator import MatkitCalculator

log = logging.getLogger(__name__)


def load(name_or_path: str | Path, any_level: bool = False) -> ForceField:
    """Load a potential with forces and stress, ready for use.

    Args:
        name_or_path: A name from `models()`, a ``*.safetensors`` file written by matkit, or a
            ``*.model`` file of MACE with one head.
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
    return force_field(read_potential(name_or_path, any_level)[0]).eval()


def load_calculator(
    name_or_path: str | Path | Sequence[str | Path] = DEFAULT_POTENTIAL,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype | None = None,
    skin: float = 0.5,
    neighbors: str = "auto",
    ignore_charge: bool = False,
    any_level: bool = False,
    dispersion: str | None = None,
    dispersion_functional: str = DISPERSION_FUNCTIONAL,
    head: str | None = None,
    symmetrize: str | None = None,
    dipole: str | Path | None = None,
    **foreign: Any,
) -> MatkitCalculator:
    """Load an ASE calculator.

    Args:
        name_or_path: Model name or file, also one of MACE (``*.model``). Several, also as text
            with commas, or a pattern such as ``"seed-*.safetensors"``, make a committee: results
            are means, with `energy_std`, `forces_std` and `stress_std` beside them. The default
            comes with matkit; ``matkit models info`` says how good it is.
        device: `cpu`, `cuda`, ...; `auto` takes the GPU if there is one.
        dtype: `float32` or `float64` arithmetic; None leaves it to what is computed (`md` takes
            float32, all else of `matkit.simulate`, vibrations, phonons and transition states
            float64) and is the model's own type elsewhere.
        skin: Extra reach of the neighbour list in Å, so that it is reused while atoms move.
        neighbors: Neighbour search, see `matkit.neighbors.radius_graph`.
        ignore_charge: Compute structures with a charge or multiplicity that the model does not
            take into account as neutral singlets; else they are refused.
        any_level: See `load`.
        dispersion: Correction that is added, `d3` (damped to zero) or `d3bj`; see
            `matkit.dispersion.D3`.
        dispersion_functional: Density functional of the labels that the model was trained on.
        head: Name of the head to take of a MACE file that has several.
        symmetrize: Average over turned copies, ``grid:24`` or ``frames``, or the lowest of them,
            ``energy:24``; see `matkit.symmetrize`.
        dipole: File of a network of properties with a dipole, which molecules get then too, with
            the charges it is made of.
        **foreign: Nothing; words of other programs are answered with those of matkit.

    Raises:
        UnknownNameError: no model has that name, it is a generator, or no file fits the pattern.
        ConfigError: no model is named, device or type are none, the dispersion, its functional or
            the symmetrization is not known, an argument is unknown, or `head` names none of a
            file's heads.
        MissingExtraError: the package that carries the weights, or the one of the dispersion, is
            not installed.
        CheckpointError: a model file cannot be read.
        ModelError: a model gives no energies and forces, or not what it declares.
    """
    from matkit.calculator import MatkitCalculator

    _refuse_foreign(foreign)
    names = expand(name_or_path)
    if not names:
        raise ConfigError("Expected at least one model, got none. Name one.")
    loaded = [read_potential(name, any_level, head) for name in names]
    for name, (_, metadata) in zip(names, loaded, strict=True):
        if any_level and (level := valid_elements(metadata["card"])):
            log.warning("Energies of %s are good for %s only.", name, format_species(level))
    cards = {str(name): metadata["card"] for name, (_, metadata) in zip(names, loaded, strict=True)}
    _warn_of_levels(cards)
    info = {"model": ", ".join(map(str, names)), **_summary(loaded[0][1])}
    info["sha256"] = ", ".join(metadata["sha256"] for _, metadata in loaded)
    if dispersion is not None:
        _warn_of_double_counting(cards, dispersion)
        info |= {"dispersion": dispersion, "dispersion_functional": dispersion_functional}
    potentials = [
        with_dispersion(force_field(potential), dispersion, dispersion_functional).eval()
        for potential, _ in loaded
    ]
    if symmetrize is not None:
        info["symmetrize"] = symmetrize
        wanted = parse_symmetrization(symmetrize)
        potentials = [symmetric_potential(potential, wanted) for potential in potentials]
    _warn_of_forces(dict(zip(map(str, names), potentials, strict=True)))
    electric = None if dipole is None else _properties(dipole)
    if electric is not None:
        info["dipole"] = str(dipole)
    return MatkitCalculator(
        potentials, device, dtype, skin, neighbors, info, ignore_charge, electric
    )


def _properties(path: str | Path) -> PropertyModel:
    """Return the network of properties in a file.

    Raises:
        ConfigError: there is no such file, or it holds another one.
        CheckpointError: it cannot be read.
    """
    network = checkpoint.load(path)[0] if Path(path).is_file() else None
    if not isinstance(network, PropertyModel):
        found = "is no file" if network is None else f"predicts {', '.join(network.provides)}"
        raise ConfigError(
            f"Expected as dipole the file of a network of properties, but {path} {found}. Train "
            "one: matkit train --task property --target NAME:dipole:D"
        )
    return network


def _warn_of_forces(potentials: Mapping[str, ForceField]) -> None:
    """Say whose forces are no derivatives."""
    for name, potential in potentials.items():
        if not potential.conservative:
            log.warning(
                "Forces of %s are predicted, not derivatives of its energy (conservative: false): "
                "energies drift in dynamics, and relaxations may not end in a minimum.",
                name,
            )


def _warn_of_levels(cards: Mapping[str, Mapping[str, Any]]) -> None:
    """Say if members of a committee learnt different energies: their spread is no uncertainty."""
    levels = {name: card.get("level") or card.get("training_data") for name, card in cards.items()}
    if len({level for level in levels.values() if level}) > 1:
        log.warning(
            "The models of this committee were trained on different labels (%s): if these are of "
            "different levels of theory, energies and their deviations mean little.",
            "; ".join(f"{name}: {_shortened(level)}" for name, level in levels.items()),
        )


def _shortened(text: Any, most: int = 60) -> str:
    return f"{str(text)[:most]}..." if len(str(text)) > most else str(text)


def _warn_of_double_counting(cards: Mapping[str, Mapping[str, Any]], dispersion: str) -> None:
    for name, card in cards.items():
        if words := double_counting(card):
            log.warning(
                "The labels of %s hold dispersion already, as its card says (%s): with %s it "
                "counts twice.",
                name,
                words,
                dispersion,
            )


def _refuse_foreign(words: Mapping[str, Any]) -> None:
    known = list(inspect.signature(load_calculator).parameters)[:-1]
    said = [f"Unknown argument {w!r}.{answer(w) or did_you_mean(w, known)}" for w in words]
    if said:
        raise ConfigError(" ".join(said))


def load_generator(
    name_or_path: str | Path | None = None,
    device: str | torch.device = "auto",
    domain: Domain = "crystal",
) -> tuple[Generator, dict[str, Any]]:
    """Load a generator that is ready to draw, and what is known of it.

    Args:
        name_or_path: A name from `models()`, or a ``*.safetensors`` file written by
            ``matkit train``; None for the most general generator that comes with matkit.
        device: `cpu`, `cuda`, ...; `auto` takes the GPU if there is one.
        domain: What one makes that is not named.

    Raises:
        UnknownNameError: there is no such name or file, it is a potential, or none comes with
            matkit.
        CheckpointError: the file cannot be read.
    """
    from matkit.devices import find_device

    if str(name_or_path) in published():
        raise not_a_generator(str(name_or_path))
    path = find_generator(name_or_path, domain)
    if checkpoint.kind_of(path) != "generator":
        raise not_a_generator(str(name_or_path))
    generator, metadata = checkpoint.load(path, Generator)
    known = {key: metadata[key] for key in ("model", "sha256")}
    known |= {"name": path.stem, "path": str(path)}
    return generator.to(find_device(device)), known | metadata["card"]


def _summary(metadata: dict[str, Any]) -> dict[str, Any]:
    card = metadata["card"]
    domain = {"domain": card["domain"]} if isinstance(card.get("domain"), Mapping) else {}
    return {k: card.get(k, NOT_STATED) for k in ("licence", "source", "training_data")} | domain
