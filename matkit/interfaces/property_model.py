"""What a network of properties of whole structures is, for training and for predictions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from matkit.errors import ConfigError, did_you_mean
from matkit.interfaces.potential import Potential
from matkit.structures import Structures

# Kinds of targets, and how many components one may have.
WIDTHS: dict[str, tuple[int, ...]] = {
    "intensive": (1,),
    "extensive": (1,),
    "dipole": (1, 3),
    "polarizability": (1, 9),
    "extent": (1,),
}


class Target(NamedTuple):
    """One property.

    Attributes:
        name: Its column.
        kind: `intensive`, `extensive`, `dipole` (a vector, or its norm), `polarizability` (a
            matrix, or a third of its trace) or `extent` (a sum over charges times squared
            distances from the centre of the nuclear charges).
        width: Number of its components.
        unit: Its unit, as it is to be printed.
    """

    name: str
    kind: str
    width: int = 1
    unit: str = ""


class PropertyModel(Potential):
    """A network whose `forward` returns `targets` [B, W] alone, the components side by side.

    Attributes:
        targets: What is predicted, in the order of the columns.
        uncertainty: A `matkit.nn.heads.last_layer.LastLayer` for each target.
    """

    provides = frozenset({"targets"})
    targets: tuple[Target, ...]
    uncertainty: nn.ModuleList

    @abstractmethod
    def begin_with(self, structures: Structures) -> None:
        """Take over before training the zero and the unit of every target.

        Args:
            structures: A training set with ``system["targets"]`` [B, W], NaN where not known.
        """

    @abstractmethod
    def baseline(self, structures: Structures) -> Float[Tensor, "B W"]:
        """Return what the composition alone says of the targets, by a least-squares fit."""

    @abstractmethod
    def units(self) -> Float[Tensor, " W"]:
        """Return the spread of every column about the baseline in the training set."""

    def atomic_charges(self, graph: Any, target: int) -> Float[Tensor, " N"] | None:
        """Return the charges [N] that a dipole is made of, in its unit per Å; None if it has none.

        They add up to zero in every structure. What else makes the dipole, such as vectors of the
        atoms, is not in them: they are no population analysis.

        Args:
            graph: What `featurize` returned.
            target: Number of the target, a dipole with three components.
        """
        return None

    @abstractmethod
    def last_inputs(self, graph: Any) -> tuple[Float[Tensor, "B W"], list[Tensor]]:
        """Return the targets, and of each its derivative by the last weights [B, width, F]."""


def check_targets(targets: Sequence[Sequence[Any]]) -> tuple[Target, ...]:
    """Return targets from their description in a model file or a configuration.

    Raises:
        ConfigError: there is none, a kind is unknown, a name comes twice, or a kind has no such
            number of components.
    """
    made = tuple(Target(*given) for given in targets)
    if not made or len({target.name for target in made}) < len(made):
        raise ConfigError(
            f"Expected targets with distinct names, got {[target.name for target in made]}."
        )
    for target in made:
        if target.kind not in WIDTHS:
            raise ConfigError(
                f"Unknown kind {target.kind!r} of target {target.name}."
                f"{did_you_mean(target.kind, WIDTHS)}"
            )
        if target.width not in WIDTHS[target.kind]:
            widths = " or ".join(map(str, WIDTHS[target.kind]))
            raise ConfigError(
                f"Expected {widths} component(s) of target {target.name}, which is "
                f"{target.kind}; got {target.width}."
            )
    return made


def columns_of(targets: Sequence[Target]) -> list[slice]:
    """Return the columns of every target."""
    ends = list(accumulate(target.width for target in targets))
    return [slice(end - target.width, end) for end, target in zip(ends, targets, strict=True)]
