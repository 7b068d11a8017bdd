"""How uncertain a last linear map is, from what it was fitted to (Laplace's approximation).

With inputs x_n of the last weights in the training set, ``S = (Σ_n x_n x_nᵀ + λ)⁻¹`` is up to a
factor the covariance of the weights, and a prediction has the variance ``σ² (1 + xᵀ S x)``
(MacKay 1992; Daxberger et al. 2021, last layer only).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Strengths λ of the prior that are tried, as a part of the mean diagonal of Σ x xᵀ.
PRIORS = tuple(10.0**-power for power in range(1, 9))


class LastLayer(nn.Module):
    """Uncertainty of one target.

    Args:
        features: Inputs of the last map.

    Attributes:
        covariance: S [F, F], float64; zero before `fit`.
        noise: σ in the unit of the target; zero before `fit`.
    """

    covariance: Tensor
    noise: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("covariance", torch.zeros(features, features, dtype=torch.float64))
        self.register_buffer("noise", torch.zeros((), dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LastLayer:
        """Move to a device, but stay float64 whatever the network is rounded to."""
        covariance, noise = self.covariance, self.noise
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.covariance = covariance.to(self.covariance.device)
        self.noise = noise.to(self.noise.device)
        return self

    def fit(
        self,
        products: Float[Tensor, "F F"],
        inputs: Float[Tensor, "V F"],
        errors: Float[Tensor, " V"],
    ) -> None:
        """Take S from the training set, λ and σ from errors on structures that are not in it.

        Of the strengths `PRIORS` the one is taken under which the errors are likeliest.

        Args:
            products: ``Σ x xᵀ`` over the training set.
            inputs: Inputs of validation structures.
            errors: Prediction minus value there.
        """
        best, scale = float("inf"), float(products.diagonal().mean())
        for prior in PRIORS:
            unit = torch.eye(len(products), dtype=torch.float64, device=products.device)
            covariance = torch.linalg.inv(products.double() + prior * scale * unit)
            factors = 1 + _squares(inputs.double(), covariance)
            noise = (errors.double().square() / factors).mean().sqrt()
            surprise = float(noise.log() + 0.5 * factors.log().mean())
            if surprise < best:
                best = surprise
                self.covariance, self.noise = covariance, noise

    def forward(self, inputs: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Return the standard deviation of predictions, in the unit of the target."""
        return self.noise * (1 + _squares(inputs.double(), self.covariance)).sqrt()


def _squares(inputs: Tensor, covariance: Tensor) -> Tensor:
    return ((inputs @ covariance) * inputs).sum(-1).clamp(min=0)


def last_layers(features: Sequence[int]) -> nn.ModuleList:
    """Return one for each target with so many inputs of its last map."""
    return nn.ModuleList(LastLayer(count) for count in features)
