"""Small convolutions and random operands for the tests of this folder."""

import torch

from matkit.graph import Graph
from matkit.nn.irreps import parse_irreps
from matkit.nn.kernels import Convolution

F64 = torch.float64

# irreps, lmax, natural parity: natural and SO(3) lists to l = 3, odd scalars, channel counts that
# fill vectors, leave a rest, or are smaller than one.
CASES = [
    ("4x0e", 0, True),
    ("3x0e+2x1o", 1, True),
    ("17x0e+5x0o+8x1e+16x1o", 1, True),
    ("20x0e+16x1o+3x2e", 2, True),
    ("20x0e+16x1e+3x2e", 2, False),
    ("8x0e+4x1o+2x2e+9x3o", 3, True),
    ("8x0e+4x1e+2x2e+9x3e", 3, False),
]


def make_graph(atoms=7, edges=30, seed=0, isolated=2):
    """A random graph sorted by centre; the first and last `isolated` atoms have no edge."""
    generator = torch.Generator().manual_seed(seed)
    inner = (isolated // 2, atoms - (isolated + 1) // 2)
    ends = torch.randint(*inner, (2, edges), generator=generator) if edges else torch.zeros(2, 0)
    ends = ends.long()
    return Graph(
        positions=torch.randn(atoms, 3, dtype=F64, generator=generator),
        species=torch.ones(atoms, dtype=torch.long),
        cell=torch.zeros(1, 3, 3, dtype=F64),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        n_atoms=torch.tensor([atoms]),
        center=ends[0].sort().values,
        neighbor=ends[1],
        shift=torch.zeros(edges, 3, dtype=torch.long),
        cutoff=5.0,
    )


def make(case, backend="auto"):
    text, lmax, natural = case
    irreps = parse_irreps(text)
    return Convolution(irreps, lmax, irreps, natural, backend=backend)


def make_inputs(conv, graph, dtype=F64, seed=1):
    """Random x, Y, w and cotangent g."""
    generator = torch.Generator().manual_seed(seed)
    atoms, edges = len(graph.species), len(graph.center)

    def random(*shape):
        return torch.randn(*shape, dtype=dtype, generator=generator)

    x = tuple(random(atoms, i.dim, i.channels) for i in conv.irreps_in)
    g = tuple(random(atoms, i.dim, i.channels) for i in conv.irreps_out)
    return x, random(edges, (conv.lmax + 1) ** 2), random(edges, conv.weight_numel), g


def relative(a, b):
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-300)) if b.numel() else 0.0
