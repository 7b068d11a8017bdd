"""The convolution as a layer, with a choice of backends."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from matkit.errors import ConfigError, did_you_mean
from matkit.graph import Graph
from matkit.nn.equivariant import Features
from matkit.nn.irreps import Irreps
from matkit.nn.kernels import autograd, fused, reference
from matkit.nn.kernels.backends import NAMED, name_for
from matkit.nn.kernels.check import check
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.kernels.paths import Layout, find_paths

Backend = Literal["auto", "reference", "fused", "triton"]


class Convolution(nn.Module):
    """``out_i = sum over edges (i, j) of w_ij ⊙ (x_j ⊗ Y_ij)``, one weight per path and channel.

    The product is "uvu": each channel of x is coupled with the single channel of Y by the
    Clebsch-Gordan coefficients of each path, normalised by √(2 l3 + 1) as in e3nn
    (Thomas et al. 2018, https://arxiv.org/abs/1802.08219; Batzner et al. 2022, eq. 6). Paths
    into the same irrep are concatenated along channels.

    Args:
        irreps_in: Irreps of x.
        lmax: Highest degree of the harmonics Y.
        keep: Irreps whose kinds are kept in the output (their channels are ignored).
        natural_parity: Whether Y_l has parity (-1)^l; otherwise all are even and the network
            does not tell a mirror image (SO(3) only).
        backend: `reference` (plain torch), `fused` (compiled for the CPU at hand), `triton`
            (compiled for the GPU at hand), or `auto`: the compiled one of the device where it can
            be used and agrees with the reference, which is used elsewhere.

    Attributes:
        irreps_out: Irreps of the output, sorted by degree.
        paths: Couplings, in the order of the weights.
        weight_numel: Weights per edge.
        layout: What the kernels depend on.
    """

    def __init__(
        self,
        irreps_in: Irreps,
        lmax: int,
        keep: Irreps,
        natural_parity: bool,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        if backend not in get_args(Backend):
            raise ConfigError(
                f"Unknown backend {backend!r}.{did_you_mean(backend, get_args(Backend))}"
            )
        self.irreps_in, self.lmax, self.backend = irreps_in, lmax, backend
        self.irreps_out, self.paths = find_paths(irreps_in, lmax, keep, natural_parity)
        self.layout = Layout(
            tuple((irrep.l, irrep.channels) for irrep in irreps_in),
            tuple((irrep.l, irrep.channels) for irrep in self.irreps_out),
            lmax,
            self.paths,
        )
        self.weight_numel = self.layout.weight_numel

    def forward(
        self,
        x: Features,
        harmonics: Float[Tensor, "E K"],
        weights: Float[Tensor, "E W"],
        graph: Graph,
    ) -> Features:
        """Send messages along all edges.

        Args:
            x: Features per irrep [N, 2l + 1, channels].
            harmonics: Y of every edge [E, (lmax + 1)²].
            weights: Radial weights [E, weight_numel].
            graph: Edges.

        Returns:
            Features per irrep of `irreps_out` [N, 2l + 1, channels].
        """
        backend = self.choose(weights)
        if backend == "reference":
            return reference.convolve(self.layout, x, harmonics, weights, graph)
        setting = autograd.Setting(NAMED[backend], self.layout, fused.edges_of(graph))
        return autograd.convolve(setting, x, harmonics, weights)

    def choose(self, weights: Tensor) -> str:
        """Return the backend used for weights of this type and on this device."""
        if self.backend != "auto":
            return self.backend
        name = name_for(weights.device)
        able = (
            weights.dtype in SCALARS
            and weights.numel() > 0
            # torch.func transforms see through plain torch only.
            and not torch._C._are_functorch_transforms_active()
        )
        if name is None or not able:
            return "reference"
        agrees = check(self.layout, weights.dtype, name, str(weights.device))
        return name if agrees else "reference"
