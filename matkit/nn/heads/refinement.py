"""A relaxation that is learnt: a few steps of a network instead of many of an optimizer.

Each step is a network with features for directions and a head that makes one displacement per atom
of them; positions move, the graph is made anew and the next step follows, all of it differentiable,
so that a loss of the final positions trains every step (Fuchs et al. 2021, Iterative
SE(3)-Transformers, https://arxiv.org/abs/2102.13419). The cell stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from jaxtyping import Float
from torch import Tensor, nn

from matkit.errors import ConfigError, StructureError
from matkit.graph import Graph
from matkit.nn.arguments import check_positive
from matkit.nn.equivariant import Features
from matkit.nn.irreps import Irreps
from matkit.structures import Structures


class DirectionalNetwork(Protocol):
    """A network whose atoms have features that turn with the structure, such as nequip or hotpp.

    Attributes:
        feature_irreps: Irreps of these features.
    """

    feature_irreps: Irreps

    def featurize(self, structures: Structures) -> Graph:
        """Return the graph that it works on."""

    def equivariant_features(self, graph: Graph) -> Features:
        """Return the features [N, 2l + 1, channels] per irrep."""


class Refinement(nn.Module):
    """Steps that move the atoms, one after another.

    Args:
        backbones: Network of each step; the same one several times shares its weights.
        longest_step: No atom moves farther in one step, Å.
        refresh: Whether edges are found anew before every step. Else those of the start stay, and
            atoms that come closer than the cutoff later do not see each other.

    Raises:
        ConfigError: there is no step, `longest_step` is not positive, or a backbone has no vectors.
    """

    def __init__(
        self,
        backbones: Sequence[DirectionalNetwork],
        longest_step: float = 0.3,
        refresh: bool = True,
    ) -> None:
        super().__init__()
        check_positive(steps=len(backbones), longest_step=longest_step)
        self.longest_step, self.refresh = longest_step, refresh
        self.steps = nn.ModuleList(Displacement(backbone) for backbone in backbones)

    def forward(self, structures: Structures) -> list[Structures]:
        """Return the structures after every step, the last ones last.

        Raises:
            StructureError: atoms came to lie upon each other.
        """
        path, graph = [structures], None
        for step in cast(list[Displacement], list(self.steps)):
            if graph is None or self.refresh:
                graph = step.backbone.featurize(path[-1])
            graph = graph.replace(positions=path[-1].positions)
            moved = step(graph)
            # Smoothly, so that gradients do not vanish where a step is cut.
            moved = moved / (1 + (moved / self.longest_step).square().sum(1, keepdim=True)).sqrt()
            if not moved.isfinite().all():
                raise StructureError(
                    f"Displacements of step {len(path)} are not finite, since atoms lie upon each "
                    "other. Begin with structures whose atoms are apart, or take shorter steps."
                )
            path.append(path[-1].replace(positions=path[-1].positions + moved))
        return path[1:]


class Displacement(nn.Module):
    """One vector for every atom, zero before training.

    Args:
        backbone: Network of the atoms.
    """

    def __init__(self, backbone: DirectionalNetwork) -> None:
        super().__init__()
        kinds = [irrep.kind for irrep in backbone.feature_irreps]
        missing = [text for kind, text in (((0, 1), "0e"), ((1, -1), "1o")) if kind not in kinds]
        if missing:
            raise ConfigError(
                f"Expected a backbone with scalars (0e) and vectors (1o), got one of "
                f"{'+'.join(map(str, backbone.feature_irreps))}, without {' and '.join(missing)}."
            )
        self.backbone = backbone
        self.scalar, self.vector = kinds.index((0, 1)), kinds.index((1, -1))
        scalars, vectors = (backbone.feature_irreps[i] for i in (self.scalar, self.vector))
        self.gate = nn.Sequential(
            nn.Linear(scalars.channels, scalars.channels),
            nn.SiLU(),
            nn.Linear(scalars.channels, vectors.channels),
        )
        for parameter in self.gate[2].parameters():
            nn.init.zeros_(parameter)

    def forward(self, graph: Graph) -> Float[Tensor, "N 3"]:
        """Return a displacement in Å, float64."""
        features = self.backbone.equivariant_features(graph)
        weights = self.gate(features[self.scalar].squeeze(1)).unsqueeze(1)
        return (features[self.vector] * weights).sum(dim=2).to(graph.positions)
