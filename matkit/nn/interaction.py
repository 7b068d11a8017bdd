"""A residual layer of messages, which can begin as the identity."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

from matkit.graph import Graph
from matkit.nn.embedding import SpeciesScale
from matkit.nn.equivariant import Features, Linear, ScalarMLP
from matkit.nn.frozen.contracts import NodeMap
from matkit.nn.frozen.nodes import FrozenGateMixer, FrozenNode
from matkit.nn.kernels import Convolution
from matkit.nn.mixing import EquivariantNorm, GateMixer, GridMixer
from matkit.nn.residual import add_matching, matching


class ResidualInteraction(nn.Module):
    """One layer: convolution, linear, mixer, norm, and the layer's input added.

    Args:
        convolution: How neighbours' features are coupled with the harmonics.
        mixer: What is done with the sum of messages and the layer's own input.
        norm: Norm of the mixer's result.
        radial_widths: Input and hidden sizes of the radial map.
        neighbor_norm: Number the sum over neighbours is divided by.
        species_scale: What the messages that arrive are scaled by, if anything.
    """

    def __init__(
        self,
        convolution: Convolution,
        mixer: GridMixer | GateMixer,
        norm: EquivariantNorm,
        radial_widths: tuple[int, ...],
        neighbor_norm: float,
        species_scale: SpeciesScale | None = None,
    ) -> None:
        super().__init__()
        inputs = {irrep.kind for irrep in convolution.irreps_in}
        self.places = [i for i, irrep in enumerate(mixer.irreps_in) if irrep.kind in inputs]
        connected = tuple(mixer.irreps_in[i] for i in self.places)
        self.self_connection = Linear(convolution.irreps_in, connected)
        self.radial = ScalarMLP((*radial_widths, convolution.weight_numel))
        self.convolution = convolution
        self.neighbor_norm, self.species_scale = neighbor_norm, species_scale
        self.linear_out = Linear(convolution.irreps_out, mixer.irreps_in)
        self.mixer, self.norm = mixer, norm
        self.same = matching(convolution.irreps_in, norm.irreps)

    def forward(
        self, x: Features, index: Tensor, basis: Tensor, harmonics: Tensor, graph: Graph
    ) -> Features:
        """Return the features of the next layer [N + S, 2l + 1, channels] per irrep.

        Rows beyond the graph's N atoms are atoms without neighbours. `index` are the species
        [N + S].
        """
        n_atoms = len(graph.species)
        # Nothing of the size of features is copied or divided that need not be.
        sent = x if len(x[0]) == n_atoms else tuple(part[:n_atoms] for part in x)
        shares = harmonics / self.neighbor_norm
        received = self.linear_out(self.convolution(sent, shares, self.radial(basis), graph))
        if self.species_scale is not None:
            received = self.species_scale(received, index[:n_atoms])
        mixed = [_padded(part, len(x[0])) for part in received]
        for place, added in zip(self.places, self.self_connection(x), strict=True):
            mixed[place] = mixed[place] + added
        return add_matching(self.update(tuple(mixed)), x, self.same)

    def update(self, mixed: Features) -> Features:
        """Return what is added to the features, given messages and self-connection."""
        return self.norm(self.mixer(mixed))

    def frozen_update(self) -> NodeMap:
        """Return `update` for inference."""
        if isinstance(self.mixer, GateMixer):
            return FrozenGateMixer.of(self.mixer, self.norm)
        return FrozenNode(self.update)

    def without_neighbors(self, x: Features) -> Features:
        """Return the features of the next layer of atoms that have no neighbours."""
        shapes = [(len(x[0]), irrep.dim, irrep.channels) for irrep in self.mixer.irreps_in]
        mixed = [x[0].new_zeros(shape) for shape in shapes]
        for place, added in zip(self.places, self.self_connection(x), strict=True):
            mixed[place] = added
        return add_matching(self.update(tuple(mixed)), x, self.same)


def _padded(part: Tensor, rows: int) -> Tensor:
    """Append rows of zeros."""
    missing = rows - len(part)
    return pad(part, (0, 0, 0, 0, 0, missing)) if missing else part
