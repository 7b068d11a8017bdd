"""What simulations need of a model: total energies and forces, and the stress if it has one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection

from torch import Tensor

from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.pair_blocks import PairBlocks
from matkit.structures import Structures

DERIVED = frozenset({"energy", "forces", "stress"})


class ForceField(Potential):
    """A network with what makes total energies and forces of what it returns.

    Args:
        network: Potential.

    Attributes:
        conservative: Whether the forces are the derivative of the energy.
        analytic: Use the network's own derivative where it has one and nothing is to be
            differentiated further. It may prepare the weights first, which a model that is being
            trained need not do.
    """

    conservative: bool
    analytic: bool = True

    def __init__(self, network: Potential) -> None:
        super().__init__()
        self.network = network
        self.cutoff, self.species = network.cutoff, network.species
        self.conditions, self.hessian_cutoff = network.conditions, network.hessian_cutoff
        self.one_level, self.pair_cutoff = network.one_level, network.pair_cutoff
        self.recordable = network.recordable

    @abstractmethod
    def forward(
        self,
        graph: Graph,
        properties: Collection[str] = DERIVED,
        differentiable: bool | None = None,
    ) -> Properties:
        """Predict the energy, and the forces and stress if asked for.

        Args:
            graph: Batch of graphs.
            properties: Any of `energy`, `forces`, `stress`; energies always come. The stress of
                a structure with a missing lattice vector or without periodicity is NaN.
            differentiable: Whether the results can be differentiated further, by parameters or
                positions; None means while training.

        Returns:
            `energy` [B], what the network returns, `forces` [N, 3] and `stress` [B, 3, 3].
        """

    def hessian_blocks(self, graph: Graph) -> PairBlocks | None:
        """Return the Hessian that the network predicts, not the derivative of the energy."""
        return self.network.hessian_blocks(graph)


def stress_is_defined(structures: Structures) -> Tensor:
    """Return which structures [B] are periodic and have all three lattice vectors."""
    return (structures.volume > 0) & structures.pbc.any(dim=1)
