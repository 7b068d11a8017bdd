"""How a training went: whether its end is better than its start, or so bad that it failed."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import torch

from matkit.data.dataset import Dataset
from matkit.data.references import fit_references

Errors = Mapping[str, float]

# A training that ends with so many times an error has failed.
FAR = 3.0
# What is judged, the first that is there, and which errors are small whatever came before: of
# labels that the model to start from made itself, it has none.
JUDGED = {
    "forces_mae": ("force error", 0.05, "eV/Å"),
    "energy_mae": ("energy error", 0.05, "eV/atom"),
    "loss": ("validation loss", 0.0, ""),
}


def errors_of_the_mean(dataset: Dataset) -> dict[str, float]:
    """Return the errors of predicting no forces, and energies from the composition alone."""
    structures, found = dataset.structures, {}
    forces = structures.atom["forces"]
    if bool((known := forces.isfinite()).any()):
        found["forces_mae"] = float(forces[known].abs().mean())
    energy = structures.system["energy"]
    if bool(energy.isfinite().any()):
        rest = fit_references(dataset, energy).residuals
        found["energy_mae"] = float(rest[torch.isfinite(rest)].abs().mean())
    return found


def failure_of(start: Errors, last: Errors, mean: Errors) -> str:
    """Return why a training has failed; nothing if it has not.

    One that is worse than the mean, but better than its start, was too short.

    Args:
        start: Validation errors before the first step.
        last: Those at the end.
        mean: Those of predicting the mean, see `errors_of_the_mean`.
    """
    key = next((key for key in JUDGED if key in last), None)
    if key is None:
        return ""
    what, small, unit = JUDGED[key]
    compared = {"that of the start": start.get(key)}
    if not last[key] < start.get(key, inf):
        compared["that of predicting the mean"] = mean.get(key)
    for name, before in compared.items():
        if before is not None and not last[key] <= max(FAR * before, small):
            return (
                f"it ended with a {what} of {last[key]:.3g} {unit}".rstrip()
                + f", where {name} is {before:.3g}. A smaller lr helps most often; look at "
                "log.csv, and at the data with `matkit data inspect`"
            )
    return ""
