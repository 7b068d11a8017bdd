"""The Fréchet ChemNet distance (Preuer et al., J. Chem. Inf. Model. 58, 1736, 2018).

It compares means and covariances of what ChemNet makes of SMILES. It grows as sets get smaller:
compare values of as many molecules, and with that of halves of the reference.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from matkit.errors import MissingExtraError
from matkit.evaluate.scores import Score, halves

Vectors = NDArray[np.float64]
PROTOCOL = "distance of ChemNet's activations (package fcd) of valid molecules; smaller is nearer"


def check_installed() -> None:
    """Refuse to begin without ChemNet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import fcd  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'The Fréchet ChemNet distance needs fcd: pip install "matkit[fcd]"'
        ) from error


def chemnet_score(
    smiles: Sequence[str], reference: Sequence[str], rng: np.random.Generator
) -> Score:
    """Return the Fréchet ChemNet distance of two sets; None if one has fewer than two molecules."""
    mine, theirs = activations(smiles), activations(reference)
    one, other = (np.array(half).reshape(-1, theirs.shape[1]) for half in halves(list(theirs), rng))
    of = f"{len(smiles)} and {len(reference)} of the reference"
    return Score("FCD", frechet(mine, theirs), of, PROTOCOL, frechet(one, other), "random halves")


def activations(smiles: Sequence[str]) -> Vectors:
    """Return what ChemNet makes of SMILES [n, 512]."""
    import fcd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file that is removed, and names of older numpy
        model: Any = fcd.load_ref_model()
        found = fcd.get_predictions(model, list(smiles), n_jobs=0, device="cpu")
    return np.asarray(found, dtype=np.float64)


def frechet(one: Vectors, other: Vectors) -> float | None:
    """Return |m₁ − m₂|² + tr(S₁ + S₂ − 2 (S₁ S₂)^½); None of fewer than two vectors.

    The trace of the last root is that of (S₁^½ S₂ S₁^½)^½, which is symmetric.
    """
    if min(len(one), len(other)) < 2:
        return None
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    values, vectors = eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    shared = np.sqrt(np.clip(eigh(root @ second @ root, eigvals_only=True), 0, None)).sum()
    apart = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
    return float(apart + np.trace(first) + np.trace(second) - 2 * shared)
