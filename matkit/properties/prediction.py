"""Predict properties of structures, with uncertainties, and say what is beyond the training."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.devices import find_device
from matkit.errors import CheckpointError, ConfigError, DataError
from matkit.interfaces import PropertyModel
from matkit.interfaces.property_model import Target, columns_of
from matkit.models import checkpoint
from matkit.models.sources import expand, is_generator
from matkit.nn.scatter import scatter_sum
from matkit.properties.columns import values_of
from matkit.properties.domain import outside
from matkit.properties.entries import PropertyEntries
from matkit.properties.options import PredictOptions
from matkit.properties.reading import read_property_entries
from matkit.properties.uncertainty import graphs, uncertainties
from matkit.runs.atomic import write_atomically
from matkit.structures import Structures

COMPONENTS = {
    1: ("",),
    3: ("_x", "_y", "_z"),
    9: tuple(f"_{a}{b}" for a in "xyz" for b in "xyz"),
}
# What a card must say.
KNOWN = {"elements_seen", "n_atoms", "targets", "conformers", "bonds"}


@dataclass(frozen=True)
class PropertyPrediction:
    """What is predicted of B structures.

    Attributes:
        targets: What is predicted.
        entries: The structures.
        values: Predictions [B, W] in the units of the targets, NaN where there are none.
        deviation: Their standard deviations [B, W], NaN where nothing is known of them.
        composition: What the composition alone says [B, W], likewise.
        conditions: What the networks take into account besides atoms, such as `charge`.
        outside: What of each structure is beyond the training set; nothing if all is within.
    """

    targets: tuple[Target, ...]
    entries: PropertyEntries
    values: Float[Tensor, "B W"]
    deviation: Float[Tensor, "B W"]
    composition: Float[Tensor, "B W"]
    conditions: frozenset[str]
    outside: list[str]

    @property
    def names(self) -> list[str]:
        """Names of the columns of `values`."""
        return [f"{t.name}{end}" for t in self.targets for end in COMPONENTS[t.width]]


def predict_files(
    options: PredictOptions, on_batch: Callable[[int, int], None] | None = None
) -> PropertyPrediction:
    """Predict the properties of the structures of files.

    Args:
        options: Options.
        on_batch: Called with the number of structures done and in all.

    Raises:
        ConfigError: no model or file is named, a model predicts no properties, or members of a
            committee predict different ones.
        DataError: there is no structure, or a network saw bonds, which are not known here.
        CheckpointError, MissingExtraError: a file cannot be read.
    """
    if options.model is None or not options.struct:
        raise ConfigError("Expected a model and files: matkit predict MODEL FILES... --out CSV")
    members = load_members(options.model, options.device)
    card = members[0][1]
    entries = read_property_entries(
        options.struct, bool(card["conformers"]), options.table, options.format
    )
    if card["bonds"] and entries.structures.bonds is None:
        raise DataError(
            "This network learnt from molecules with bonds, and none are known of these. Give "
            "SMILES or SDF."
        )
    found = _committee(members, entries.structures, on_batch)
    said = outside(card, entries.structures, found[0])
    first = members[0][0]
    return PropertyPrediction(first.targets, entries, *found, first.conditions, said)


def load_members(
    models: str, device: str = "auto"
) -> list[tuple[PropertyModel, Mapping[str, Any]]]:
    """Return the networks of one or more model files, and their cards.

    Raises:
        ConfigError: a model predicts no properties, or they predict different ones.
        CheckpointError: a file cannot be read, or does not say what it was trained on.
    """
    members: list[tuple[PropertyModel, Mapping[str, Any]]] = []
    for name in expand(models):
        if is_generator(name):
            raise ConfigError(f"Expected a network of properties, but {name} generates structures.")
        model, metadata = checkpoint.load(name)
        if not isinstance(model, PropertyModel):
            raise ConfigError(
                f"Expected a network of properties, but {name} predicts "
                f"{', '.join(sorted(model.provides))}. Train one: matkit train --task property"
            )
        if not metadata["card"].keys() >= KNOWN:
            raise CheckpointError(
                f"{name} does not say what it was trained on, so that nothing could be said of "
                "what is beyond. Train it with matkit train --task property."
            )
        if members and model.targets != members[0][0].targets:
            raise ConfigError(f"{name} predicts other targets than the first of the committee.")
        members.append((model.to(find_device(device)), metadata["card"]))
    return members


def _committee(
    members: Sequence[tuple[PropertyModel, Mapping[str, Any]]],
    structures: Structures,
    on_batch: Callable[[int, int], None] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return predictions, deviations and the composition's [B, W]; NaN for unknown elements."""
    first, count = members[0][0], len(structures)
    known = torch.tensor(sorted(set.intersection(*(set(m.species) for m, _ in members))))
    strange = (~torch.isin(structures.species, known)).double()
    fit = (scatter_sum(strange, structures.batch, count) == 0).nonzero().flatten()
    empty = torch.full((count, len(first.units())), torch.nan, dtype=torch.float64)
    if not len(fit):
        return empty, empty, empty
    part = structures.index(fit.tolist())
    found = [_predicted(model, part, on_batch) for model, _ in members]
    values = torch.stack([one[0] for one in found])
    deviation = found[0][1] if len(found) == 1 else values.std(0, correction=0)
    alone = first.baseline(part.to(next(first.parameters()).device)).cpu()
    mean, spread, composition = (
        empty.index_copy(0, fit, one) for one in (values.mean(0), deviation, alone)
    )
    return mean, spread, composition


@torch.no_grad()
def _predicted(
    model: PropertyModel, structures: Structures, on_batch: Callable[[int, int], None] | None
) -> tuple[Tensor, Tensor]:
    """Return predictions and deviations of one network, NaN if it does not know these."""
    values, deviations, done = [], [], 0
    seen = structures if "bonds" in model.sees else structures.replace(bonds=None, bond={})
    for graph in graphs(model, seen):
        value, inputs = model.last_inputs(graph)
        parts = [layer(x) for layer, x in zip(uncertainties(model), inputs, strict=True)]
        deviation = torch.cat(parts, dim=1)
        values.append(value.cpu())
        deviations.append(deviation.masked_fill(deviation == 0, torch.nan).cpu())
        done += len(graph)
        if on_batch is not None:
            on_batch(done, len(structures))
    return torch.cat(values), torch.cat(deviations)


def errors_beside_composition(
    prediction: PropertyPrediction,
) -> list[tuple[Target, int, float, float]]:
    """Return of each target that the files hold how many, its error and the composition's."""
    found = []
    entries = prediction.entries
    for target, columns in zip(prediction.targets, columns_of(prediction.targets), strict=True):
        if target.name not in entries.columns:
            continue
        wanted = values_of([target], entries.columns, entries.sources)
        wrong = (prediction.values[:, columns] - wanted).abs()
        simple = (prediction.composition[:, columns] - wanted).abs()
        if count := int(wrong.isfinite().all(1).sum()):
            found.append((target, count, float(wrong.nanmean()), float(simple.nanmean())))
    return found


def as_csv(prediction: PropertyPrediction) -> str:
    """Return one row for each structure: values, deviations, and what is beyond the training."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = prediction.names
    writer.writerow(["structure", *names, *(f"{name}_std" for name in names), "outside"])
    rows = zip(
        prediction.entries.sources,
        torch.cat([prediction.values, prediction.deviation], dim=1).tolist(),
        prediction.outside,
        strict=True,
    )
    for source, numbers, reason in rows:
        texts = ["" if number != number else f"{number:.8g}" for number in numbers]
        writer.writerow([source, *texts, reason])
    for fault in prediction.entries.faults:
        writer.writerow([fault.split(" (", 1)[0], *[""] * (2 * len(names)), f"not read: {fault}"])
    return buffer.getvalue()


def write_predictions(prediction: PropertyPrediction, out: Path) -> None:
    """Write them as CSV."""
    write_atomically(out, as_csv(prediction).encode())
