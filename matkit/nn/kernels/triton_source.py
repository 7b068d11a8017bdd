"""What a Triton kernel of a convolution is: its arguments, and the programs it runs as.

A program owns one atom and eight channels of one irrep of x, and walks that atom's edges four at
a time: one warp, whose sums need no barrier.
"""

from __future__ import annotations

from dataclasses import dataclass

from matkit.nn.kernels.paths import Layout
from matkit.nn.kernels.spline import SPLINES, Spline

EDGES = 4  # walked at once
CHANNELS = 8  # of one program at most

SCALARS = {"float": "tl.float32", "double": "tl.float64"}


@dataclass(frozen=True)
class Source:
    """One kernel to generate.

    Attributes:
        layout: Irreps and paths.
        scalar: ``float`` or ``double``.
        gradients: Which of "x", "y", "w" to differentiate; none for the forward product.
        table: Weights are interpolated from a table; "w" then stands for the derivative by the
            length of each edge.
    """

    layout: Layout
    scalar: str
    gradients: str = ""
    table: bool = False

    @property
    def spline(self) -> Spline:
        """How weights are interpolated."""
        return SPLINES[self.scalar]

    @property
    def arguments(self) -> list[str]:
        """Names of the pointers the kernel takes, in order."""
        names = ["start", "order", "other", "y", "w"]
        names += ["length", "grid"] if self.table else []
        names += [f"x{k}" for k in range(len(self.layout.sources))]
        names += [f"g{k}" for k in range(len(self.layout.targets))]
        if "x" in self.gradients:
            names += [f"dx{k}" for k in range(len(self.layout.sources))]
        return names + [f"d{name}" for name in "yw" if name in self.gradients]


def block_width(channels: int) -> int:
    """Return the channels of a program: a power of two."""
    return min(CHANNELS, 1 << (channels - 1).bit_length())


def block_counts(layout: Layout) -> list[int]:
    """Return the programs per atom for every irrep of x; none for one that no path uses."""
    used = {path.source for path in layout.paths}
    return [
        -(-channels // block_width(channels)) if source in used else 0
        for source, (_, channels) in enumerate(layout.sources)
    ]
