"""HIP: a Hessian read off the features of an energy network (Burger et al. 2025).

Any layered energy network is the backbone and gives energies, forces and stress as it does alone.
Its last features with directions, l = 0 to 2, are coupled for every pair of atoms within a cutoff
of its own. Each message 0e+1e+2e is a 3x3 matrix in a basis change that keeps its norm: the block
of two atoms, and a part of the block of its centre with itself. The matrix is a sum S + Sᵀ, so it
is symmetric and turns with the structure by construction. (https://arxiv.org/abs/2509.21624)

Deviations: exact also under reflections, with the pseudovectors of blocks made where two features
are coupled; a smooth envelope at the cutoff of pairs; forces are derivatives of the energy; blocks
of atoms with themselves are sums over pairs instead of read off the atom, so that they see as much
as the others and an atom without others has no Hessian; periodic structures have a block for every
lattice image; what rigid motions demand is made exact when the matrix is asked for. Switches:
further layers of messages between atoms, which the energy does not see; messages that also see what
lies between two atoms, by products of matrices over shared neighbours (see
`matkit.nn.heads.pair_products`); a unit of the blocks that falls with the distance; a copy of the
backbone's layers for the head, so that energies and forces stay what they are while it learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.nn.heads.further_layers import FurtherLayers
from matkit.nn.heads.hessian import HessianHead, PairMessages
from matkit.nn.heads.pair_products import PairProducts
from matkit.nn.layered import LayeredPotential, check_choice
from matkit.pair_blocks import PairBlocks

SUM_RULES = ("none", "project", "diagonal")


class HIP(Potential):
    """Energy network with a head that predicts Hessians.

    Args:
        species: Atomic numbers; the backbone's.
        backbone: Energy network. In a configuration, its `name` and hyper-parameters.
        hessian_cutoff: Longest pair of atoms with a block of its own, Å.
        channels: Channels of the head.
        basis_size: Radial functions of the head.
        layers: Layers of messages between atoms on top of the backbone's, for the head alone. They
            begin as the identity, and are cheap to train: no force is differentiated through them.
        product_layers: Updates of pairs by products of what lies between. All but the first begin
            as the identity.
        product_channels: Channels of these products, of pairs within half of `hessian_cutoff`.
        hessian_scale: Unit of the head's results, eV/Å²: a typical stiff force constant.
        hessian_decay: How fast that unit falls from 1 Å on, 1/Å.
        own_features: Whether the head reads a copy of the backbone's layers, which begins as they
            are and which the energy does not see. Without weights of energies and forces, and with
            the backbone frozen, steps of training are cheaper.
        sum_rule: What a shift or a turn of all atoms does. `none`: whatever was learned;
            `project`: exactly what the energy's invariance demands, imposed on the matrix when it
            is asked for; `diagonal`: the same, and the blocks of atoms with themselves are minus
            the sum of the others.

    Raises:
        ConfigError: an argument is out of range, or the backbone does not fit.
    """

    provides = frozenset({"atom_energy", "features"})

    def __init__(
        self,
        species: Sequence[int],
        backbone: Potential,
        hessian_cutoff: float = 8.0,
        channels: int = 32,
        basis_size: int = 16,
        layers: int = 0,
        product_layers: int = 0,
        product_channels: int = 16,
        hessian_scale: float = 5.0,
        hessian_decay: float = 0.0,
        own_features: bool = False,
        sum_rule: str = "project",
    ) -> None:
        super().__init__()
        check_choice("sum_rule", sum_rule, SUM_RULES)
        network = _checked(backbone, species)
        if not (hessian_cutoff > 0 and hessian_scale > 0):
            raise ConfigError(
                "Expected a positive `hessian_cutoff` in Å and `hessian_scale` in eV/Å², got "
                f"{hessian_cutoff} and {hessian_scale}."
            )
        if not (min(layers, product_layers, hessian_decay) >= 0 and product_channels > 0):
            raise ConfigError(
                "Expected `layers`, `product_layers` and `hessian_decay` (1/Å) of at least 0 and "
                f"positive `product_channels`, got {layers}, {product_layers}, {hessian_decay} and "
                f"{product_channels}."
            )
        self.backbone = network
        self.own = network.features_only() if own_features else None
        self.species, self.cutoff = network.species, network.cutoff
        self.conditions, self.hessian_cutoff = network.conditions, float(hessian_cutoff)
        self.pair_cutoff = self.hessian_cutoff
        irreps = network.feature_irreps
        harmonics = network.lmax, network.natural_parity
        further = FurtherLayers(irreps, *harmonics, network.cutoff, layers) if layers else None
        pairs = PairMessages(irreps, channels, basis_size, *harmonics)
        diagonal, invariant = sum_rule == "diagonal", sum_rule != "none"
        half = self.hessian_cutoff / 2
        products = [PairProducts(channels, product_channels, half) for _ in range(product_layers)]
        unit = hessian_scale, hessian_decay
        self.head = HessianHead(
            further, pairs, products, self.hessian_cutoff, *unit, diagonal, invariant
        )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights; if some may be missing, the head's copy begins as the backbone."""
        state = dict(state_dict)
        if not strict and self.own is not None and not any(n.startswith("own.") for n in state):
            names = [name for name in self.own.state_dict() if f"backbone.{name}" in state]
            state |= {f"own.{name}": state[f"backbone.{name}"].clone() for name in names}
        return super().load_state_dict(state, strict, assign)

    def forward(self, graph: Graph) -> Properties:
        """Return what the backbone does: atomic energies [N] in eV and `features`."""
        return self.backbone(graph)

    def edge_gradient(self, graph: Graph) -> tuple[Properties, Tensor] | None:
        """Return the same as `forward`, with the backbone's dE/d(edge vector) [E, 3]."""
        return self.backbone.edge_gradient(graph)

    def hessian_blocks(self, graph: Graph) -> PairBlocks:
        """Return the Hessian in blocks in eV/Å², for all pairs within `hessian_cutoff`."""
        network = self.backbone if self.own is None else self.own
        features = network.equivariant_features(graph)
        return self.head(features, graph, self.featurize_pairs(graph))


def _checked(backbone: Potential, species: Sequence[int]) -> LayeredPotential:
    if not isinstance(backbone, LayeredPotential):
        raise ConfigError(
            "Expected as `backbone` a network with features for directions, such as facet or "
            f"nequip, got {type(backbone).__name__}."
        )
    if backbone.species != tuple(species):
        raise ConfigError(
            f"Expected the backbone's species {list(backbone.species)}, got {list(species)}."
        )
    return backbone
