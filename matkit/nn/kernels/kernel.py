"""What a kernel is, and its assembly around the loop over rows."""

from __future__ import annotations

from dataclasses import dataclass

from matkit.nn.kernels.paths import Layout
from matkit.nn.kernels.spline import SPLINES, Spline


@dataclass(frozen=True)
class Kernel:
    """One function to generate.

    Attributes:
        layout: Irreps and paths.
        scalar: ``float`` or ``double``.
        gradients: Which of "x", "y", "w" to differentiate; none for the forward product.
        tangent: Which of "x", "y", "w" move, if it is how the product changes that is wanted, and
            with `gradients` the derivatives of both, see `matkit.nn.kernels.tangents`.
        table: Weights are interpolated from a table instead of read, at the place each edge has
            in it (the logarithm of its length), and "w" stands for the derivative by that.
        vector_bytes: Size of the machine's vectors.
        registers: Number of the machine's vector registers.
    """

    layout: Layout
    scalar: str
    gradients: str = ""
    tangent: str = ""
    table: bool = False
    vector_bytes: int = 64
    registers: int = 32

    @property
    def by_neighbor(self) -> bool:
        """Whether rows are neighbours: grad x then has one writer."""
        return "x" in self.gradients

    @property
    def spline(self) -> Spline:
        """How weights are interpolated."""
        return SPLINES[self.scalar]

    @property
    def scalar_bytes(self) -> int:
        """Size of a number."""
        return 4 if self.scalar == "float" else 8

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return self.vector_bytes // self.scalar_bytes

    @property
    def arguments(self) -> list[str]:
        """Names of the pointers the kernel takes, in order."""
        layout = self.layout
        names = ["start", "edge", "other", "y", "w", "place", "grid"]
        names += [f"x{k}" for k in range(len(layout.sources))]
        names += [f"g{k}" for k in range(len(layout.targets))]
        names += [f"dx{k}" for k in range(len(layout.sources))] if self.by_neighbor else []
        names += ["dy"] * ("y" in self.gradients) + ["dw"] * ("w" in self.gradients)
        names += [f"t{name}" for name in "yw" if self.tangent]
        names += [f"tx{k}" for k in range(len(layout.sources)) if "x" in self.tangent]
        both = self.tangent and self.gradients
        return names + [f"h{k}" for k in range(len(layout.targets)) if both]


def blocks(channels: int, lanes: int) -> list[tuple[int, int, int]]:
    """Split channels into (first, end, width): whole vectors, then the remainder."""
    whole = channels - channels % lanes
    found = [(0, whole, lanes)] if whole else []
    return found + ([(whole, channels, channels - whole)] if whole < channels else [])


def module_text(declarations: set[str], lines: list[str], vector_bytes: int) -> str:
    """Return the assembly of a module whose function ``rows`` has the body `lines`."""
    bits = 8 * vector_bytes
    attributes = (
        f'attributes #0 = {{ nounwind "min-legal-vector-width"="{bits}" '
        f'"prefer-vector-width"="{bits}" }}'
    )
    head = "define internal void @rows(i64 %begin, i64 %end, ptr %args) #0 {\nentry:"
    return "\n".join([*sorted(declarations), head, *lines, "}", ENTRY, attributes, ""])


# Called by every thread of a team with job = [args, bounds, number of chunks, next chunk]: each
# takes the next chunk until none is left, so slow cores do less and a smaller team is no harm.
ENTRY = """
define void @entry(ptr %job) #0 {
entry:
  %args = load ptr, ptr %job
  %p1 = getelementptr i64, ptr %job, i64 1
  %bounds = load ptr, ptr %p1
  %p2 = getelementptr i64, ptr %job, i64 2
  %chunks = load i64, ptr %p2
  %counter = getelementptr i64, ptr %job, i64 3
  br label %head
head:
  %chunk = atomicrmw add ptr %counter, i64 1 monotonic
  %more = icmp slt i64 %chunk, %chunks
  br i1 %more, label %work, label %exit
work:
  %pb = getelementptr i64, ptr %bounds, i64 %chunk
  %pe = getelementptr i64, ptr %pb, i64 1
  %b = load i64, ptr %pb
  %e = load i64, ptr %pe
  call void @rows(i64 %b, i64 %e, ptr %args)
  br label %head
exit:
  ret void
}
"""
