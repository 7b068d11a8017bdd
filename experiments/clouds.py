"""Which lattice an atom sits in: attention over pairs of neighbours beside order parameters.

    python experiments/clouds.py --minutes 3

Atoms of fcc, bcc, hcp and diamond crystals and of a random packing are displaced at random, as a
harmonic crystal's are, by a fraction of the distance of nearest neighbours. Both methods see the 12
nearest neighbours of an atom, at a mean distance of one: Steinhardt's q4, q6, w4 and w6
(https://doi.org/10.1103/PhysRevB.28.784) with a logistic regression, and GeometricAttention with a
linear layer. They learn from small displacements and some ratios c/a of hcp, and are tested on
other ratios, larger cells and other, mostly larger displacements. Prints the order parameters of
the perfect lattices, and one row a displacement: how many atoms are told right.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from common import table
from scipy.special import sph_harm_y
from sympy.physics.wigner import wigner_3j
from torch import nn
from torch.nn.functional import cross_entropy

from matkit.data.ase import from_ase
from matkit.neighbors import radius_graph
from matkit.nn.heads.clouds import GeometricAttention, neighbor_clouds
from matkit.structures import cat

CLASSES = ("fcc", "bcc", "hcp", "diamond", "random")
# Distance of nearest neighbours, and reach in which there are 12 of them, Å.
NEAREST, REACH, NEIGHBORS = 2.5, 5.5, 12
# Of magnesium, titanium and cobalt to learn from, of zinc-like and ideal hcp to be tested on.
LEARNT_RATIOS, TEST_RATIOS = (1.624, 1.587, 1.623), (1.633, 1.70)
LEARNT, TEST = (0.04, 0.07), (0.05, 0.08, 0.10, 0.12, 0.14)
WIDTH, BATCH, RATE = 32, 64, 0.005


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(table([perfect(name) for name in CLASSES[:4]]))
    learnt = [examples(size, LEARNT_RATIOS, 3, seed) for seed, size in enumerate(LEARNT)]
    points, labels = (torch.cat(parts) for parts in zip(*learnt, strict=True))
    steinhardt = Regression(points, labels)
    attention, steps = trained(points, labels, args.minutes)
    print(f"\n{len(labels)} atoms to learn from, {steps} steps of the attention\n")
    rows = []
    for size in TEST:
        points, labels = examples(size, TEST_RATIOS, 4, seed=9)
        right = [method(points).argmax(dim=1) == labels for method in (steinhardt, attention)]
        of_class = [100 * float(r.double().mean()) for r in right]
        rows.append(
            {
                "displacement": size,
                "atoms": len(labels),
                "order parameters, %": of_class[0],
                "attention, %": of_class[1],
            }
        )
    print(table(rows))


def perfect(name: str) -> dict[str, object]:
    """Return the order parameters of a perfect lattice."""
    found = order_parameters(clouds([lattice(name, 1.633, 3)])).mean(dim=0)
    return {"lattice": name, **dict(zip(("q4", "q6", "w4", "w6"), found.tolist(), strict=True))}


def examples(
    displacement: float, ratios: tuple[float, ...], cells: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return clouds [N, 12, 3] of all classes, and the numbers of these [N]."""
    frames: list[Atoms] = []
    labels: list[int] = []
    for ratio in ratios:
        for label, name in enumerate(CLASSES):
            atoms = packing(seed) if name == "random" else lattice(name, ratio, cells)
            # So that there are about as many atoms of each class.
            atoms.rattle(displacement * NEAREST, seed=seed + len(frames))
            frames.append(atoms)
            labels += [label] * len(atoms)
    return clouds(frames), torch.tensor(labels)


def lattice(name: str, ratio: float, cells: int) -> Atoms:
    """Return a crystal with nearest neighbours at the same distance in all lattices."""
    nearest = NEAREST
    constants = {"fcc": 2**0.5, "bcc": 2 / 3**0.5, "diamond": 4 / 3**0.5, "hcp": 1.0}
    a = nearest * constants[name]
    if name == "hcp":
        # Neighbours in the plane and between planes differ if the ratio is not ideal.
        return bulk("Mg", "hcp", a=a, c=ratio * a) * (cells, cells, cells)
    return bulk("Cu", name, a=a, cubic=True) * ((cells - 1,) * 3 if name == "diamond" else cells)


def packing(seed: int, atoms: int = 108, density: float = 0.85) -> Atoms:
    """Return atoms at random places that pushed each other away, as a dense liquid is."""
    side = (atoms / density) ** (1 / 3) * NEAREST
    places = side * torch.rand(atoms, 3, generator=torch.Generator().manual_seed(seed)).double()
    places.requires_grad_()
    optimizer = torch.optim.Adam([places], lr=0.1)
    for _ in range(200):
        apart = places.unsqueeze(1) - places
        apart = apart - side * (apart / side).round().detach() + side * torch.eye(atoms)[..., None]
        overlap = (NEAREST - apart.norm(dim=2)).clamp(min=0).square().sum()
        optimizer.zero_grad()
        overlap.backward()
        optimizer.step()
    return Atoms(["Ar"] * atoms, places.detach().numpy(), cell=[side] * 3, pbc=True)


def clouds(frames: list[Atoms]) -> torch.Tensor:
    """Return the 12 nearest neighbours of every atom, at a mean distance of one."""
    graph = radius_graph(cat([from_ase(atoms) for atoms in frames]), REACH)
    points, _, present = neighbor_clouds(graph, NEIGHBORS)
    assert bool(present.all()), "an atom has too few neighbours"
    return points / points.norm(dim=2).mean(dim=1)[:, None, None]


def order_parameters(points: torch.Tensor) -> torch.Tensor:
    """Return q4, q6, w4 and w6 of clouds [N, 4]."""
    x, y, z = (points / points.norm(dim=2, keepdim=True)).unbind(dim=2)
    polar, azimuth = torch.arccos(z.clamp(-1, 1)).numpy(), torch.atan2(y, x).numpy()
    first, third = [], []
    for degree in (4, 6):
        orders = np.arange(-degree, degree + 1)
        q = np.stack([sph_harm_y(degree, m, polar, azimuth).mean(axis=1) for m in orders], axis=1)
        length = np.linalg.norm(q, axis=1)
        first.append((4 * np.pi / (2 * degree + 1)) ** 0.5 * length)
        triple = np.einsum("abc,na,nb,nc->n", couplings(degree), q, q, q, optimize=True)
        third.append(triple.real / length**3)
    return torch.from_numpy(np.stack([*first, *third], axis=1))


def couplings(degree: int) -> np.ndarray:
    """Return the 3j symbols of three harmonics of one degree."""
    size = 2 * degree + 1
    symbols = np.zeros((size, size, size))
    for a in range(size):
        for b in range(size):
            c = 3 * degree - a - b
            if 0 <= c < size:
                orders = a - degree, b - degree, c - degree
                symbols[a, b, c] = float(wigner_3j(degree, degree, degree, *orders))
    return symbols


class Regression(nn.Module):
    """A logistic regression on order parameters.

    Args:
        points: Clouds to learn from.
        labels: Their classes.
    """

    def __init__(self, points: torch.Tensor, labels: torch.Tensor) -> None:
        super().__init__()
        inputs = order_parameters(points)
        self.mean, self.spread = inputs.mean(dim=0), inputs.std(dim=0)
        self.last = nn.Linear(inputs.shape[1], len(CLASSES)).double()
        optimizer = torch.optim.LBFGS(self.parameters(), max_iter=500)

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            value = cross_entropy(self.last((inputs - self.mean) / self.spread), labels)
            value.backward()
            return value

        optimizer.step(loss)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Return scores of the classes."""
        return self.last((order_parameters(points) - self.mean) / self.spread)


class Attention(nn.Module):
    """Attention over pairs of neighbours, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.pooling = GeometricAttention(1, WIDTH)
        # Means over many pairs differ little from cloud to cloud, so that they need a scale.
        self.last = nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, len(CLASSES)))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Return scores of the classes."""
        points = points.float()
        present = torch.ones(points.shape[:2], dtype=torch.bool)
        return self.last(self.pooling(points, points.norm(dim=2, keepdim=True), present))


def trained(points: torch.Tensor, labels: torch.Tensor, minutes: float) -> tuple[Attention, int]:
    """Return an attention after a training of so many minutes, and its number of steps."""
    model, begin, steps, share = Attention(), time.perf_counter(), 0, 0.0
    optimizer = torch.optim.Adam(model.parameters())
    while share < 1:
        rate = RATE * 0.5 * (1 + np.cos(np.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = torch.randint(len(labels), (BATCH,))
        loss = cross_entropy(model(points[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        share = (time.perf_counter() - begin) / (60 * minutes)
    return model.eval().requires_grad_(False), steps


if __name__ == "__main__":
    main()
