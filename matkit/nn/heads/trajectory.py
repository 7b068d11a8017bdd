"""A forecast of a molecule's next frames from its last ones, all at once (EqMotion, CVPR 2023).

Frames are coordinates of a cosine transform in time. Every atom has channels of vectors, which are
linear in the centred frames, and invariants made of its speeds and turns. Layers scale an atom's
vectors by its invariants, add differences to the other atoms with weights of two kinds of pairs
that are learnt, add its velocities and cut what points against a learnt direction (Xu et al. 2023,
https://arxiv.org/abs/2303.10876; code MediaBrain-SJTU/EqMotion).

Deviations: the result is added to the last frame; turns are cosines, with norms that have a
derivative at zero, instead of angles. It knows neither energies nor ensembles, and one interval
between frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.errors import ConfigError, StructureError
from matkit.nn.arguments import check_positive
from matkit.nn.embedding import SpeciesIndex

# Kinds of pairs.
KINDS = 2
# Of lengths and speeds, Å, so that they have a derivative at zero.
SOFTENING = 1e-3


class TrajectoryForecaster(nn.Module):
    """Network from past to future frames of a molecule.

    Args:
        species: Atomic numbers to know.
        past: Number of frames it is given, at least three.
        future: Number of frames it forecasts.
        interval: Time between frames, fs: that of the trajectories it is trained on.
        width: Invariants of an atom.
        channels: Vectors of an atom.
        layers: Layers.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        species: Sequence[int],
        past: int,
        future: int,
        interval: float,
        width: int = 64,
        channels: int = 32,
        layers: int = 4,
    ) -> None:
        super().__init__()
        check_positive(future=future, interval=interval, width=width, channels=channels)
        if past < 3:
            raise ConfigError(f"Expected three past frames or more, to see turns, got {past}.")
        self.past, self.future, self.interval = past, future, float(interval)
        self.index = SpeciesIndex(tuple(species))
        self.embedding = nn.Embedding(len(species), width)
        self.of_motion = perceptron(2 * past - 3, width, width)
        self.vectors = nn.Linear(past, channels, bias=False)
        self.velocities = nn.Linear(past - 1, channels, bias=False)
        self.kinds = perceptron(2 * width + channels, width, KINDS)
        self.layers = nn.ModuleList(MotionLayer(width, channels) for _ in range(layers))
        self.last = nn.Linear(channels, future, bias=False)
        self.register_buffer("transform", cosines(past), persistent=False)
        self.register_buffer("inverse", cosines(future).T, persistent=False)

    transform: Tensor
    inverse: Tensor

    def forward(
        self, frames: Float[Tensor, "B T N 3"], species: Int[Tensor, " N"]
    ) -> Float[Tensor, "B S N 3"]:
        """Return the frames that follow, at the same interval, in Å.

        Args:
            frames: Past frames of a batch of copies of one molecule, in Å, not wrapped.
            species: Its atomic numbers.

        Raises:
            StructureError: the number of frames is another one.
        """
        if frames.shape[1] != self.past:
            raise StructureError(f"Expected {self.past} past frames, got {frames.shape[1]}.")
        center = frames.mean(dim=(1, 2), keepdim=True)
        velocities = frames.diff(dim=1)
        moved = torch.einsum("kt,btnx->bnxk", self.transform, frames - center)
        x = self.vectors(moved)
        v = self.velocities(torch.einsum("btnx->bnxt", velocities))
        h = self.embedding(self.index(species)) + self.of_motion(motion_invariants(velocities))
        kinds = self.kinds(torch.cat(pair_inputs(h, x), dim=3)).softmax(dim=3)
        for layer in self.layers:
            x, h = layer(x, v, h, kinds)
        return frames[:, -1:] + torch.einsum("sk,bnxk->bsnx", self.inverse, self.last(x))


class MotionLayer(nn.Module):
    """Vectors and invariants of atoms, each changed by those of all others.

    Args:
        width: Invariants of an atom.
        channels: Vectors of an atom.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.scale = perceptron(width, width, channels)
        self.speed = perceptron(width, width, channels)
        self.message = perceptron(2 * width + channels, width, width)
        self.pull = nn.Linear(width, KINDS * channels)
        self.update = perceptron(2 * width, width, width)
        self.along = nn.Linear(channels, channels, bias=False)
        self.directions = nn.Linear(channels, channels, bias=False)

    def forward(
        self,
        x: Float[Tensor, "B N 3 C"],
        v: Float[Tensor, "B N 3 C"],
        h: Float[Tensor, "B N W"],
        kinds: Float[Tensor, "B N N K"],
    ) -> tuple[Float[Tensor, "B N 3 C"], Float[Tensor, "B N W"]]:
        """Return the vectors and the invariants after the layer."""
        messages = self.message(torch.cat(pair_inputs(h, x), dim=3))
        pulls = self.pull(messages).unflatten(3, (KINDS, -1))
        pulls = torch.einsum("bijk,bijkc->bijc", kinds, pulls) / x.shape[1]
        # Σ_j w_ij (x_i - x_j), without the differences.
        pulled = pulls.sum(dim=2).unsqueeze(2) * x - torch.einsum("bijc,bjxc->bixc", pulls, x)
        x = x * (1 + self.scale(h).unsqueeze(2)) + pulled + v * self.speed(h).unsqueeze(2)
        new = self.update(torch.cat([h, messages.mean(dim=2)], dim=2))
        return x + cut(self.along(x), self.directions(x)), h + new


def pair_inputs(h: Float[Tensor, "B N W"], x: Float[Tensor, "B N 3 C"]) -> list[Tensor]:
    """Return the invariants of both atoms of every pair, and of their vectors' differences."""
    size = h.shape[1]
    first, second = h.unsqueeze(2), h.unsqueeze(1)
    apart = (x.unsqueeze(2) - x.unsqueeze(1)).square().sum(dim=3)
    both = [first.expand(-1, -1, size, -1), second.expand(-1, size, -1, -1)]
    return [*both, (apart + SOFTENING**2).sqrt()]


def motion_invariants(velocities: Float[Tensor, "B T N 3"]) -> Float[Tensor, "B N M"]:
    """Return speeds, and cosines of the angles between one step and the next."""
    speeds = (velocities.square().sum(dim=3) + SOFTENING**2).sqrt()
    products = (velocities[:, 1:] * velocities[:, :-1]).sum(dim=3)
    turns = products / (speeds[:, 1:] * speeds[:, :-1])
    return torch.cat([speeds, turns], dim=1).transpose(1, 2)


def cut(x: Float[Tensor, "*B 3 C"], directions: Float[Tensor, "*B 3 C"]) -> Float[Tensor, "*B 3 C"]:
    """Return vectors without what points against their direction (Deng et al. 2021, eq. 6)."""
    along = (x * directions).sum(dim=-2, keepdim=True)
    squares = directions.square().sum(dim=-2, keepdim=True) + SOFTENING**2
    return x - along.clamp(max=0) / squares * directions


def cosines(size: int) -> Float[Tensor, "T T"]:
    """Return the orthogonal matrix of the cosine transform, one row for each frequency."""
    times, frequencies = torch.arange(size) + 0.5, torch.arange(size).unsqueeze(1)
    matrix = (2 / size) ** 0.5 * torch.cos(pi / size * frequencies * times)
    matrix[0] /= 2**0.5
    return matrix


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return a perceptron with one hidden layer."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


def windows(
    frames: Float[Tensor, "F N 3"], past: int, future: int
) -> tuple[Float[Tensor, "W T N 3"], Float[Tensor, "W S N 3"]]:
    """Return all pieces of a trajectory, and what follows each of them.

    To test on other times than those of training, split the trajectory first: pieces of two parts
    share no frame then.

    Raises:
        StructureError: the trajectory is too short for one.
    """
    if len(frames) < past + future:
        raise StructureError(
            f"Expected a trajectory of at least {past} + {future} frames, got {len(frames)}."
        )
    pieces = frames.unfold(0, past + future, 1).movedim(3, 1)
    return pieces[:, :past], pieces[:, past:]
