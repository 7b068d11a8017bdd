"""What a trained network does at single atoms, with its reverse derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from matkit.nn.equivariant import RMS, Features, Gate, normalized_tanh
from matkit.nn.frozen.channels import FrozenLinear
from matkit.nn.frozen.contracts import FeatureGradient
from matkit.nn.frozen.recording import RecordedNetwork
from matkit.nn.kernels.gates import gate_entry
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.kernels.norms import norm_entry
from matkit.nn.mixing import EquivariantNorm, GateMixer

# For linear maps that are the same for all species.
_NO_SPECIES = torch.empty(0, dtype=torch.long)
# Atoms at once: their values on a grid should fit the cache.
ATOMS = 64


@dataclass(frozen=True)
class FrozenGate:
    """A `Gate` with its reverse derivative."""

    scalars: int
    gates: tuple[int, ...]
    degrees: tuple[int, ...]

    @classmethod
    def of(cls, gate: Gate) -> FrozenGate:
        """Freeze a gate."""
        return cls(gate.scalars, tuple(gate.gates), tuple(degree for degree, _ in gate.kinds))

    def forward(self, x: Features) -> Features:
        """Return activated features."""
        silu = torch.nn.functional.silu
        scalars, *gates = torch.split(x[0], [self.scalars, *self.gates], dim=2)
        gate = iter(gates)
        rest = [
            normalized_tanh(part) if degree == 0 else part * silu(next(gate)).mul_(RMS["silu"])
            for part, degree in zip(x[1:], self.degrees, strict=True)
        ]
        return (silu(scalars).mul_(RMS["silu"]), *rest)

    def backward(self, x: Features, g: Features) -> Features:
        """Return the derivative by the input `x`, given that by the output."""
        by_scalars, *by_rest = g
        # Scalars and gates share one activation: collect what arrives at it, then apply it once.
        arriving, rest = [by_scalars], []
        gates = iter(torch.split(x[0], [self.scalars, *self.gates], dim=2)[1:])
        for part, gradient, degree in zip(x[1:], by_rest, self.degrees, strict=True):
            if degree == 0:
                slope = 1 - torch.tanh(part).square_()
                rest.append(gradient * slope.mul_(RMS["tanh"]))
            else:
                activated = torch.nn.functional.silu(next(gates)).mul_(RMS["silu"])
                rest.append(gradient * activated)
                arriving.append((gradient * part).sum(dim=1, keepdim=True))
        even = torch.ops.aten.silu_backward(torch.cat(arriving, dim=2), x[0])
        return (even.mul_(RMS["silu"]), *rest)

    def record(self, recording: RecordedNetwork, x: Features) -> Features:
        """Record the values."""
        irreps = self._irreps(x)
        out = recording.features(irreps)
        recording.launch(gate_entry(SCALARS[x[0].dtype], irreps, 0), [*x, *out])
        return out

    def record_back(self, recording: RecordedNetwork, x: Features, g: Features) -> Features:
        """Record the derivative by the input `x`, given that by the output."""
        by_x = tuple(map(torch.empty_like, x))
        entry = gate_entry(SCALARS[x[0].dtype], self._irreps(x), 1)
        recording.launch(entry, [*x, *g, *by_x])
        return by_x

    def _irreps(self, x: Features) -> tuple[tuple[int, int], ...]:
        """Return degree and channels of every irrep of the output."""
        rest = zip(self.degrees, (part.shape[2] for part in x[1:]), strict=True)
        return (0, self.scalars), *rest


@dataclass(frozen=True)
class FrozenNode:
    """Any differentiable function of single atoms, by autograd on some atoms at a time.

    Attributes:
        function: From features to features.
    """

    function: Callable[[Features], Features]

    def forward(self, x: Features) -> Features:
        """Return the values."""
        parts = [self.function(part) for part in chunks(x)]
        return tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))

    def backward(self, x: Features, g: Features) -> Features:
        """Return the derivative by `x`; values are computed again instead of stored."""
        parts = [self._backward(*pair) for pair in zip(chunks(x), chunks(g), strict=True)]
        return tuple(torch.cat(blocks) for blocks in zip(*parts, strict=True))

    def _backward(self, x: Features, g: Features) -> Features:
        with torch.enable_grad():
            leaves = tuple(part.detach().requires_grad_() for part in x)
            return torch.autograd.grad(self.function(leaves), leaves, g)


@dataclass(frozen=True)
class FrozenNorm:
    """An `EquivariantNorm` with its reverse derivative.

    Attributes:
        weights: Of every irrep, even scalars first.
        offset: Of the mean squares.
        numel: Numbers that the irreps after the scalars have together.
    """

    weights: Features
    offset: float
    numel: int

    @classmethod
    def of(cls, norm: EquivariantNorm) -> FrozenNorm:
        """Freeze a norm."""
        return cls(tuple(weight.detach() for weight in norm.weights), norm.offset, norm.numel)

    def forward(self, x: Features) -> Features:
        """Return normalised features."""
        centered, factors = self._factors(x)
        parts = zip(centered, factors, self.weights, strict=True)
        return tuple(part * factor * weight for part, factor, weight in parts)

    def backward(self, x: Features, g: Features) -> Features:
        """Return the derivative by `x`, given that by the values."""
        centered, factors = self._factors(x)
        weighted = [part * weight for part, weight in zip(g, self.weights, strict=True)]
        scalar = _normalised(weighted[:1], centered[:1], factors[0], x[0].shape[2])
        by_x = [scalar[0].sub_(scalar[0].mean(dim=2, keepdim=True))]
        if self.numel:
            by_x += _normalised(weighted[1:], centered[1:], factors[1], self.numel)
        return tuple(by_x)

    def record(self, recording: RecordedNetwork, x: Features) -> Features:
        """Record the values."""
        out = tuple(map(torch.empty_like, x))
        recording.launch(self._entry(x, 0), [*x, *self.weights, *out])
        return out

    def record_back(self, recording: RecordedNetwork, x: Features, g: Features) -> Features:
        """Record the derivative by the input `x`, given that by the values."""
        by_x = tuple(map(torch.empty_like, x))
        by_weights = recording.features([(0, part.shape[2]) for part in x])  # not wanted
        recording.launch(self._entry(x, 1), [*x, *g, *self.weights, *by_x, *by_weights])
        return by_x

    def _entry(self, x: Features, order: int) -> int:
        irreps = tuple((part.shape[1] // 2, part.shape[2]) for part in x)
        return norm_entry(SCALARS[x[0].dtype], irreps, self.offset, order)

    def _factors(self, x: Features) -> tuple[Features, list[Tensor]]:
        """Return features with centred scalars, and what every irrep is multiplied by."""
        scalars = x[0] - x[0].mean(dim=2, keepdim=True)
        factors = [torch.rsqrt(scalars.square().mean(dim=2, keepdim=True).add_(self.offset))]
        if self.numel:
            squares = [part.square().sum(dim=(1, 2), keepdim=True) for part in x[1:]]
            mean = torch.stack(squares).sum(dim=0).div_(self.numel)
            factors += [torch.rsqrt(mean.add_(self.offset))] * (len(x) - 1)
        return (scalars, *x[1:]), factors


@dataclass(frozen=True)
class FrozenGateMixer:
    """A gate, a linear map and a norm with their reverse derivative.

    Values are computed again on the way back instead of stored.
    """

    gate: FrozenGate
    linear: FrozenLinear
    norm: FrozenNorm

    @classmethod
    def of(cls, mixer: GateMixer, norm: EquivariantNorm) -> FrozenGateMixer:
        """Freeze what follows on the messages in a layer with a gate."""
        return cls(FrozenGate.of(mixer.gate), FrozenLinear.of(mixer.linear), FrozenNorm.of(norm))

    def forward(self, x: Features) -> Features:
        """Return the values."""
        return self.norm.forward(self._mixed(x))

    def backward(self, x: Features, g: Features) -> Features:
        """Return the derivative by `x`, given that by the values."""
        by_mixed = self.norm.backward(self._mixed(x), g)
        by_gate = FeatureGradient.zero(len(g))
        self.linear.backward(by_mixed, _NO_SPECIES, by_gate)
        return self.gate.backward(x, by_gate.whole())

    def record(self, recording: RecordedNetwork, x: Features) -> Features:
        """Record the values."""
        mixed = self.linear.record(recording, self.gate.record(recording, x), {})
        return self.norm.record(recording, mixed)

    def record_back(self, recording: RecordedNetwork, x: Features, g: Features) -> Features:
        """Record the derivative by `x`, given that by the values."""
        mixed = self.linear.record(recording, self.gate.record(recording, x), {})
        by_gate: dict[int, Tensor] = {}
        self.linear.record_back(recording, self.norm.record_back(recording, mixed, g), by_gate)
        arriving = tuple(by_gate[k] for k in range(len(mixed)))
        return self.gate.record_back(recording, x, arriving)

    def _mixed(self, x: Features) -> Features:
        return tuple(self.linear.forward(self.gate.forward(x), _NO_SPECIES))


def chunks(x: Features) -> list[Features]:
    """Return some atoms of all tensors [N, ...] at a time."""
    if x[0].is_cuda:  # no cache worth more launches
        return [x]
    return list(zip(*(part.split(ATOMS) for part in x), strict=True))


def _normalised(
    g: Sequence[Tensor], x: Sequence[Tensor], factor: Tensor, numel: int
) -> list[Tensor]:
    """Return the derivative by `x` of `x` times a factor of the mean square of its numbers."""
    along = torch.stack(
        [(a * b).sum(dim=(1, 2), keepdim=True) for a, b in zip(g, x, strict=True)]
    ).sum(dim=0)
    along.mul_(factor.pow(3)).div_(numel)
    return [a * factor - b * along for a, b in zip(g, x, strict=True)]
