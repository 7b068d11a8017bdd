"""Sums of errors from which mean and root-mean-square errors follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from matkit.geometry import to_voigt
from matkit.interfaces import Properties
from matkit.structures import Structures

LABELS = ("energy", "forces", "stress")


@dataclass(frozen=True)
class Errors:
    """Errors of one label.

    Attributes:
        count: Numbers compared: structures, force components, stress components.
        mae: Mean absolute error.
        rmse: Root-mean-square error.
    """

    count: int
    mae: float
    rmse: float


class ErrorSums(dict[str, Tensor]):
    """By label the count, the sum of absolute and the sum of squared errors [3], float64.

    Energies are per atom in eV, forces by component in eV/Å, stresses by Voigt component in
    eV/Å³. Labels that are missing (NaN) or not predicted do not count.
    """

    def add(self, prediction: Properties, target: Structures) -> None:
        """Add the errors of a batch."""
        for label, error in errors(prediction, target).items():
            known = error[~torch.isnan(error)]
            sums = torch.stack(
                [known.new_tensor(len(known)), known.abs().sum(), known.square().sum()]
            )
            self[label] = self.get(label, torch.zeros_like(sums)) + sums

    def result(self) -> dict[str, Errors]:
        """Return the errors of every label that occurred."""
        rows = {label: sums.tolist() for label, sums in self.items()}
        return {
            label: Errors(int(n), absolute / n, (squared / n) ** 0.5)
            for label, (n, absolute, squared) in rows.items()
            if n
        }


def errors(prediction: Properties, target: Structures) -> dict[str, Tensor]:
    """Return the differences of a batch, float64.

    Energies [B] are per atom; forces [N, 3]; stresses [B, 6].
    """
    found: dict[str, Tensor] = {}
    if "energy" in prediction:
        difference = prediction["energy"].detach().double() - target.system["energy"]
        found["energy"] = difference / target.n_atoms
    if "forces" in prediction:
        found["forces"] = prediction["forces"].detach().double() - target.atom["forces"]
    if "stress" in prediction:
        difference = prediction["stress"].detach().double() - target.system["stress"]
        found["stress"] = to_voigt(difference)
    return found


def summary(differences: Tensor) -> Errors | None:
    """Return the errors of any array of differences; None if all are NaN."""
    known = differences[~torch.isnan(differences)]
    if not len(known):
        return None
    return Errors(len(known), float(known.abs().mean()), float(known.square().mean().sqrt()))


def as_row(results: Mapping[str, Errors], labels: Iterable[str] = LABELS) -> dict[str, float]:
    """Return ``energy_mae``, ``energy_rmse``, ... as one flat dict."""
    return {
        f"{label}_{kind}": getattr(results[label], kind)
        for label in labels
        if label in results
        for kind in ("mae", "rmse")
    }
