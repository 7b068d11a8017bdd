"""Floating-point operations that the networks need, and how many the machine can do.

Counted is what the algorithm needs, not what happens to be executed: a multiplication and an
addition each count one; couplings only where the Clebsch-Gordan coefficient is not zero; radial
weights as the cubic that stands for the network (6 for a value, 5 more for its derivative).
Gates, harmonics, norms and the neighbour search are left out, so that fractions of the machine's
rate err on the low side.
"""

from __future__ import annotations

import statistics
import time

import torch

from matkit.nn.kernels.paths import Layout, pairs

CUBIC, CUBIC_SLOPE = 6, 5


def matmul_rate(repeat: int = 31) -> float:
    """GFLOP/s of a 1024³ float32 matrix product on torch's threads, the machine's yardstick."""
    a, b = torch.randn(2, 1024, 1024)
    times = []
    for _ in range(repeat + 3):
        begin = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - begin)
    return 2 * 1024**3 / statistics.median(times[3:]) / 1e9


def convolution(layout: Layout, gradients: str = "") -> int:
    """FLOPs per edge of the product, or of its derivatives by a part of "xyw"."""
    scaled = coupled = 0  # multiply-adds per edge: products w ⊙ x, and with the couplings
    for path in layout.paths:
        degrees = layout.degrees(path)
        scaled += path.channels * (2 * degrees[0] + 1)
        coupled += path.channels * len(pairs(*degrees))
    if not gradients:
        return 2 * (scaled + coupled)
    total = 0
    if "x" in gradients or "w" in gradients:  # g coupled back serves both
        total += coupled + scaled * sum(name in gradients for name in "xw")
    if "y" in gradients:
        total += scaled + coupled
    return 2 * total


def linear(weights, degrees) -> int:
    """FLOPs per atom of the products [2l + 1, a] @ [a, b]."""
    return sum(
        2 * (2 * degree + 1) * weight.shape[-2] * weight.shape[-1]
        for weight, degree in zip(weights, degrees, strict=True)
    )


def network(potential, n_atoms: int, n_edges: int) -> int:
    """FLOPs of energy and forces of a NequIP-like network."""
    total = 0
    for t, layer in enumerate(potential.interactions):
        layout = layer.convolution.layout
        maps = (
            (layer.linear_in, [degree for degree, _ in layout.sources]),
            (layer.linear_out, [degree for degree, _ in layout.targets]),
            (layer.self_connection, [degree for degree, _ in layout.sources]),
        )
        nodes = [
            linear(block.weights, [degrees[source] for source in block.source])
            for block, degrees in maps
        ]
        # Backwards as much again, but nothing is needed by the first layer's input.
        backwards = sum(nodes) if t else nodes[1]
        edges = convolution(layout) + convolution(layout, "xyw" if t else "yw")
        edges += (2 * CUBIC + CUBIC_SLOPE) * layout.weight_numel
        total += n_atoms * (sum(nodes) + backwards) + n_edges * edges
    return total
