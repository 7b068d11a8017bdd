"""Losses of energies per atom, forces, stresses and Hessians; missing labels do not count."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import huber_loss

from matkit.data.dataset import has_label
from matkit.errors import TrainingError
from matkit.interfaces import Properties
from matkit.structures import Structures
from matkit.train.extra_losses import term
from matkit.train.hessian_losses import hessian_losses
from matkit.train.hessian_targets import has_hessian
from matkit.train.options import LossOptions

LABELS = ("energy", "forces", "stress")
HESSIANS = ("hessian", "hessian_modes", "hessian_zpe")


def wanted(options: LossOptions) -> tuple[str, ...]:
    """Return the labels with a weight, or that a further term needs, Hessians apart."""
    weights = loss_weights(options)
    needed = {label for name in options.extra_losses for label in term(name).NEEDS}
    return tuple(label for label in LABELS if weights[label] or label in needed)


def labelled(structures: Structures, label: str) -> Bool[Tensor, " B"]:
    """Return which structures [B] carry a label."""
    if label in HESSIANS:
        return has_hessian(structures)
    return has_label(structures, label) if label in LABELS else term(label).labelled(structures)


def check_terms(structures: Structures, options: LossOptions) -> None:
    """Check that each further term of the loss has something to compare.

    Raises:
        TrainingError: it has nothing on any structure of the training set.
    """
    for name, weight in options.extra_losses.items():
        if weight and not bool(term(name).labelled(structures).any()):
            raise TrainingError(
                f"No structure of the training set has what {name} of extra_losses compares"
                f"{_what(name)}. Leave it out, or add such structures to train_file."
            )


def _what(name: str) -> str:
    """Return what a term of the loss says of itself, in brackets."""
    lines = (term(name).__doc__ or "").strip().splitlines()
    return f" ({lines[0].rstrip('.')})" if lines else ""


def loss_weights(options: LossOptions) -> dict[str, float]:
    """Return the weight of each label."""
    return {
        "energy": options.energy_weight,
        "forces": options.forces_weight,
        "stress": options.stress_weight,
        "hessian": options.hessian_weight,
        "hessian_modes": options.hessian_modes_weight,
        "hessian_zpe": options.hessian_zpe_weight,
        **options.extra_losses,
    }


def structure_losses(
    prediction: Properties, target: Structures, options: LossOptions
) -> dict[str, Float[Tensor, " B"]]:
    """Return the unweighted loss of every structure by label, zero where the label is missing.

    Energies are per atom. Forces are averaged over the atoms (`mae`: length of the error vector)
    or the components; stresses over the nine components. Those of Hessians are added if Hessians
    are predicted.
    """
    losses: dict[str, Tensor] = {}
    weights = loss_weights(options)
    for label in (label for label in LABELS if weights[label]):
        if label == "forces":
            per_atom = _penalty(prediction["forces"], target.atom["forces"], options)
            sums = per_atom.new_zeros(len(target)).index_add(0, target.batch, per_atom)
            losses[label] = sums / target.n_atoms
        elif label == "energy":
            per_atom = prediction["energy"] / target.n_atoms
            wanted_energy = target.system["energy"] / target.n_atoms
            losses[label] = _penalty(per_atom[:, None], wanted_energy[:, None], options)
        else:
            stress = prediction["stress"].flatten(1)
            losses[label] = _penalty(stress, target.system["stress"].flatten(1), options)
    if "hessian" in prediction:
        losses |= hessian_losses(prediction["hessian"], target)
    return losses | {name: term(name).loss(prediction, target) for name in options.extra_losses}


def total_loss(
    losses: Mapping[str, Float[Tensor, " B"]], target: Structures, options: LossOptions
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Return the weighted sum of the means over structures that have the label, and the means.

    Each structure counts ``target.system["weight"]`` if there is such a field.
    """
    weights = loss_weights(options)
    importance = target.system.get("weight", torch.ones_like(target.system["energy"]))
    total = importance.new_zeros(())
    means: dict[str, Tensor] = {}
    for label, values in losses.items():
        count = labelled(target, label).sum().clamp(min=1)
        means[label] = (values * importance).sum() / count
        total = total + weights[label] * means[label]
    return total, {label: value.detach() for label, value in means.items()}


def _penalty(predicted: Tensor, target: Tensor, options: LossOptions) -> Tensor:
    """Return one number per row [rows, components], zero where the target is NaN."""
    # Only the difference is masked: its derivative does not depend on the NaN.
    error = torch.where(torch.isnan(target), 0.0, predicted - target)
    if options.loss == "mse":
        return error.square().mean(1)
    if options.loss == "huber":
        delta = options.huber_delta
        return (
            huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta).mean(1)
            / delta
        )
    if error.shape[1] == 3:  # a force; the shift keeps the derivative at zero finite
        return torch.sqrt(error.square().sum(1) + 1e-20)
    return error.abs().mean(1)
