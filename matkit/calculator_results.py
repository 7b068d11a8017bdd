"""From predictions of the members of a committee to the results that ASE knows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from matkit.geometry import to_voigt
from matkit.interfaces import Properties


def energies_and_forces(members: Sequence[Properties], provides: Collection[str]) -> dict[str, Any]:
    """Return means over the members, and of several their standard deviations.

    Args:
        members: What each member says of one structure.
        provides: What all members give.
    """
    energy = torch.stack([member["energy"] for member in members])[:, 0]
    forces = torch.stack([member["forces"] for member in members])
    mean = float(energy.mean())
    results = {"energy": mean, "free_energy": mean, "forces": as_array(forces.mean(0))}
    if "atom_energy" in provides:
        energies = torch.stack([member["atom_energy"] for member in members])
        results["energies"] = as_array(energies.mean(0))
    if len(members) > 1:
        results["energy_std"] = float(energy.std(unbiased=False))
        results["forces_std"] = as_array(forces.std(0, unbiased=False))
    return results


def stresses(members: Sequence[Properties]) -> dict[str, NDArray[np.float64]]:
    """Return the mean stress in Voigt's order, and of several members its standard deviation."""
    stress = to_voigt(torch.stack([member["stress"] for member in members])[:, 0])
    results = {"stress": as_array(stress.mean(0))}
    if len(members) > 1:
        results["stress_std"] = as_array(stress.std(0, unbiased=False))
    return results


def as_array(tensor: Tensor) -> NDArray[np.float64]:
    """Return a tensor as an array in double precision."""
    array: NDArray[np.float64] = tensor.detach().to("cpu", torch.float64).numpy()
    return array
