"""What a potential can predict, and whether it predicts what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.errors import ModelError, did_you_mean
from matkit.graph import Graph
from matkit.pair_blocks import PairBlocks


class Properties(TypedDict, total=False):
    """What a potential predicts; a plain dict at run time.

    `energy` [B] eV · `atom_energy` [N] eV · `forces` [N, 3] eV/Å · `stress` [B, 3, 3] eV/Å³,
    positive in tension · `features` [N, F] invariant descriptors · `penalty` [B] what training may
    add to its loss · `targets` [B, W] any properties of structures in units of their own ·
    `hessian` in eV/Å² · `hamiltonian` in eV.
    """

    energy: Float[Tensor, " B"]
    atom_energy: Float[Tensor, " N"]
    forces: Float[Tensor, "N 3"]
    stress: Float[Tensor, "B 3 3"]
    features: Float[Tensor, "N F"]
    penalty: Float[Tensor, " B"]
    targets: Float[Tensor, "B W"]
    hessian: PairBlocks
    hamiltonian: PairBlocks


# Shape of each property by the number of atoms N, of structures B, and any (None).
SHAPES: dict[str, tuple[str | int | None, ...]] = {
    "energy": ("B",),
    "atom_energy": ("N",),
    "forces": ("N", 3),
    "stress": ("B", 3, 3),
    "features": ("N", None),
    "penalty": ("B",),
    "targets": ("B", None),
}
# How each turns with the structure: as scalars, vectors or matrices; targets may be any of these.
RANKS = {name: 0 for name in SHAPES if name != "targets"} | {"forces": 1, "stress": 2}
BLOCKS = ("hessian", "hamiltonian")


def check_names(provides: Iterable[str], model: str) -> None:
    """Refuse properties that matkit has no name for.

    Raises:
        ModelError: one is unknown, or there is none.
    """
    names = frozenset(provides)
    if not names:
        raise ModelError(f"{model} declares in `provides` nothing that it returns.")
    if unknown := names - SHAPES.keys() - set(BLOCKS):
        word = min(unknown)
        raise ModelError(
            f"{model} declares {word!r} in `provides`.{did_you_mean(word, [*SHAPES, *BLOCKS])}"
        )


def check_properties(result: Any, provides: Iterable[str], graph: Graph, model: str) -> None:
    """Compare what a model returned with what it declares in `provides`.

    Args:
        result: What its `forward` returned for `graph`.
        provides: Names of what it declares.
        graph: What it was given.
        model: What to call it in messages.

    Raises:
        ModelError: something is missing, undeclared, or of another shape.
    """
    check_names(provides, model)
    if not isinstance(result, Mapping):
        raise ModelError(
            f"{model} returned {type(result).__name__}; expected a dictionary of properties: "
            f"{', '.join(sorted(provides))}."
        )
    declared, returned = set(provides), set(result)
    if declared != returned:
        lacking = ", ".join(sorted(declared - returned)) or "nothing"
        more = ", ".join(sorted(returned - declared)) or "nothing"
        raise ModelError(
            f"{model} does not return what it declares in `provides`: {lacking} is missing and "
            f"{more} was not declared. Let the two agree."
        )
    for name, value in result.items():
        _check_value(name, value, graph, model)


def _check_value(name: str, value: Any, graph: Graph, model: str) -> None:
    if name in BLOCKS:
        if not isinstance(value, PairBlocks):
            raise ModelError(
                f"{model} returned {type(value).__name__} as {name}; expected PairBlocks."
            )
        return
    sizes = {"N": len(graph.species), "B": len(graph)}
    shape = tuple(sizes.get(str(size), size) for size in SHAPES[name])
    found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    fits = isinstance(value, Tensor) and len(found) == len(shape)
    if not (fits and all(b in (None, a) for a, b in zip(found, shape, strict=True))):
        raise ModelError(
            f"{model} returned {name} of {found}; expected a tensor of "
            f"{SHAPES[name]}, here {shape} for {sizes['N']} atoms in {sizes['B']} structures."
        )
    if not torch.is_floating_point(value):
        raise ModelError(f"{model} returned {name} as {value.dtype}; expected real numbers.")
