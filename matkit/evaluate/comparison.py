"""Predictions beside labels: errors of all structures and of every kind of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from matkit.data.dataset import Dataset
from matkit.data.references import compositions
from matkit.derivatives import ForceField
from matkit.elements import SYMBOLS
from matkit.errors import DataError
from matkit.evaluate.errors import Errors, errors, summary
from matkit.evaluate.hessians import hessian_differences
from matkit.evaluator import committee_prediction
from matkit.interfaces import Properties

# What is compared, in the order of all tables.
QUANTITIES = ("energy", "energy_fitted", "forces", "force_vectors", "stress", "hessian")


@dataclass(frozen=True)
class ErrorGroup:
    """Errors of some structures, or of the atoms of one element.

    Attributes:
        kind: `all`, `file`, `config_type` or `element`.
        name: Which of that kind.
        structures: Number of structures with any of them.
        errors: By quantity: `energy` and `energy_fitted` in eV per atom, `forces` by component
            and `force_vectors` (lengths of the error vectors) in eV/Å, `stress` by Voigt
            component in eV/Å³, `hessian` by entry in eV/Å². What cannot be compared is not there.
    """

    kind: str
    name: str
    structures: int
    errors: Mapping[str, Errors]


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a model for labelled structures, and their errors.

    Attributes:
        prediction: `energy` [B] eV, `forces` [N, 3] eV/Å, `stress` [B, 3, 3] eV/Å³, float64.
        differences: Prediction minus label, NaN where there is no label: `energy` and
            `energy_fitted` [B] eV per atom, `forces` [N, 3], `stress` [B, 6]; `hessian`
            [N, S, 3, 3] if it is compared (`matkit.evaluate.hessians`).
        references: Reference energies in eV by atomic number that `energy_fitted` takes from the
            differences; empty if there are too few structures to fit them.
        groups: Errors of all structures, then of every file, config_type and element if there are
            several.
        not_finite: Structures whose prediction is not a number; they are in no error.
        deviation: Of a committee, whose mean is the prediction: the standard deviation over its
            members, as `prediction`.
    """

    prediction: Properties
    differences: Mapping[str, Tensor]
    references: Mapping[int, float]
    groups: tuple[ErrorGroup, ...]
    not_finite: tuple[int, ...]
    deviation: Properties | None = None

    @property
    def total(self) -> Mapping[str, Errors]:
        """Errors of all structures."""
        return self.groups[0].errors


def evaluate(
    model: ForceField | Sequence[ForceField],
    dataset: Dataset,
    on_batch: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict labelled structures and compare.

    Args:
        model: Potential with derivatives, on any device, or a committee of them.
        dataset: Labelled structures.
        on_batch: Called with the number of structures done and in all.

    Raises:
        UnknownElementError: the model does not know an element, see `matkit.evaluate.elements`.
        DataError: there is no label at all.
    """
    check_comparable(dataset)
    members = [model] if isinstance(model, ForceField) else list(model)
    prediction, deviation = committee_prediction(members, dataset.structures, on_batch)
    found = [hessian_differences(member, dataset.structures) for member in members]
    known = [differences for differences in found if differences is not None]
    hessians = torch.stack(known).mean(0) if len(known) == len(found) else None
    evaluation = compare(prediction, dataset, hessians)
    return replace(evaluation, deviation=deviation)


def compare(prediction: Properties, dataset: Dataset, hessians: Tensor | None = None) -> Evaluation:
    """Compare predictions with labels; only labels that are there count.

    Args:
        prediction: `energy` [B], `forces` [N, 3], `stress` [B, 3, 3] of all structures.
        dataset: Labelled structures.
        hessians: Prediction minus label of Hessians, see `matkit.evaluate.hessians`.
    """
    structures = dataset.structures
    differences = errors(prediction, structures)
    if hessians is not None:
        differences["hessian"] = hessians
    fitted, references = _without_references(differences["energy"], dataset)
    differences["energy_fitted"] = fitted
    return Evaluation(
        prediction=prediction,
        differences=differences,
        references=references,
        groups=tuple(_groups(differences, dataset)),
        not_finite=_not_finite(prediction, dataset),
    )


def check_comparable(dataset: Dataset) -> None:
    """Raise if there is nothing to compare with.

    Raises:
        DataError: no structure, or no structure with a label.
    """
    if not len(dataset):
        raise DataError("Expected structures to compare with, got none but isolated atoms.")
    structures = dataset.structures
    labels = (*(structures.system[key] for key in ("energy", "stress")), structures.atom["forces"])
    if all(bool(values.isnan().all()) for values in labels):
        raise DataError(
            f"There is nothing to compare with: {dataset.label_report}. Name the keys of labels "
            "(energy_key, forces_key, stress_key)."
        )


def _without_references(differences: Tensor, dataset: Dataset) -> tuple[Tensor, dict[int, float]]:
    """Return energy differences [B] per atom without their best fit by the compositions.

    The fit makes the mean squared difference per atom smallest. With no more structures than
    fitted numbers nothing would be left of any error, so nothing is fitted.
    """
    species, counts = compositions(dataset)
    known = differences.isfinite()
    fractions = counts / dataset.structures.n_atoms.unsqueeze(1)
    present = counts[known].sum(dim=0) > 0
    matrix, target = fractions[known][:, present], differences[known].unsqueeze(1)
    if not len(target):
        return torch.full_like(differences, torch.nan), {}
    solution = torch.linalg.lstsq(matrix, target, driver="gelsd")
    if len(target) <= int(solution.rank):
        return torch.full_like(differences, torch.nan), {}
    values = solution.solution[:, 0]
    rest = differences - fractions[:, present] @ values
    return rest, dict(zip(species[present].tolist(), values.tolist(), strict=True))


def _groups(differences: Mapping[str, Tensor], dataset: Dataset) -> list[ErrorGroup]:
    everything = torch.ones(len(dataset), dtype=torch.bool)
    groups = [_of_structures("all", "all", everything, differences, dataset)]
    files = tuple(source.rpartition("[")[0] for source in dataset.sources)
    for kind, names in (("file", files), ("config_type", dataset.config_types)):
        unique = list(dict.fromkeys(names))
        if len(unique) > 1:
            masks = {name: torch.tensor([other == name for other in names]) for name in unique}
            groups += [_of_structures(kind, n, m, differences, dataset) for n, m in masks.items()]
    present = dataset.structures.species.unique().tolist()
    if len(present) > 1:
        groups += [_of_element(z, differences, dataset) for z in present]
    return groups


def _of_structures(
    kind: str, name: str, mask: Tensor, differences: Mapping[str, Tensor], dataset: Dataset
) -> ErrorGroup:
    chosen = {key: differences[key][mask] for key in ("energy", "energy_fitted", "stress")}
    by_atom = differences.keys() & {"forces", "hessian"}
    chosen |= {key: differences[key][mask[dataset.structures.batch]] for key in by_atom}
    return ErrorGroup(kind, name, int(mask.sum()), _table(chosen))


def _of_element(z: int, differences: Mapping[str, Tensor], dataset: Dataset) -> ErrorGroup:
    mask = dataset.structures.species == z
    structures = len(dataset.structures.batch[mask].unique())
    return ErrorGroup(
        "element", SYMBOLS[z], structures, _table({"forces": differences["forces"][mask]})
    )


def _table(differences: Mapping[str, Tensor]) -> dict[str, Errors]:
    lengths = {"force_vectors": torch.linalg.vector_norm(differences["forces"], dim=1)}
    found = {**differences, **lengths}
    table = {key: summary(found[key]) for key in QUANTITIES if key in found}
    return {key: value for key, value in table.items() if value is not None}


def _not_finite(prediction: Properties, dataset: Dataset) -> tuple[int, ...]:
    energy, forces = prediction["energy"], prediction["forces"]
    bad = ~energy.isfinite()
    atoms = ~forces.isfinite().all(dim=1)
    bad[dataset.structures.batch[atoms]] = True
    return tuple(cast(list[int], bad.nonzero().flatten().tolist()))
