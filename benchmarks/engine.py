"""Times the convolution's kernels against e3nn: python benchmarks/engine.py [--json FILE].

One hidden layer of SevenNet-0 and of SevenNet-l3i5 on a rattled 216-atom NaCl crystal, float32,
all with torch's number of threads. e3nn stands for its TensorProduct (compiled by torch.jit, its
default), gathers and index_add; backward passes are autograd's. Medians over `--repeat` calls.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from pathlib import Path

import arithmetic
import torch
from ase.build import bulk
from e3nn import o3

from matkit.data.ase import from_ase
from matkit.neighbors import radius_graph
from matkit.nn.equivariant import ScalarMLP
from matkit.nn.frozen.radial_table import tabulate
from matkit.nn.harmonics import harmonics, harmonics_gradient
from matkit.nn.irreps import format_irreps, parse_irreps, spherical_harmonics
from matkit.nn.kernels import Convolution, autograd, fused
from matkit.nn.radial import BesselBasis, polynomial_envelope

LAYERS = {
    "SevenNet-0": ("128x0e+64x1e+32x2e", 2),
    "SevenNet-l3i5": ("128x0e+64x1e+32x2e+32x3e", 3),
}
CUTOFF = 5.0


def milliseconds(function, repeat):
    function()
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times)


def crystal():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(3)
    atoms.rattle(0.05, seed=0)
    return radius_graph(from_ase(atoms), CUTOFF)


class Case:
    """Operands of one layer, and its arithmetic."""

    def __init__(self, name, graph):
        text, self.lmax = LAYERS[name]
        irreps = parse_irreps(text)
        self.graph, self.edges = graph, fused.edges_of(graph)
        self.conv = Convolution(irreps, self.lmax, irreps, natural_parity=False)
        atoms, count = len(graph.species), len(graph.center)
        torch.manual_seed(0)
        self.x = tuple(torch.randn(atoms, i.dim, i.channels) for i in irreps)
        self.g = tuple(torch.randn(atoms, i.dim, i.channels) for i in self.conv.irreps_out)
        self.lengths, self.y = harmonics(graph.vectors, self.lmax, torch.float32)
        self.w = torch.randn(count, self.conv.weight_numel)

    def operations(self, gradients):
        return len(self.graph.center) * arithmetic.convolution(self.conv.layout, gradients)

    def leaves(self):
        return [part.clone().requires_grad_() for part in (*self.x, self.y, self.w)]


def e3nn_product(case):
    """e3nn's layer as a function of the same operands in e3nn's layout."""
    conv = case.conv
    outputs = [conv.irreps_out[path.target] for path in conv.paths]
    product = o3.TensorProduct(
        format_irreps(conv.irreps_in),
        "+".join(f"1x{degree}e" for degree in range(case.lmax + 1)),
        [(path.channels, (i.l, i.p)) for path, i in zip(conv.paths, outputs, strict=True)],
        [(path.source, path.l2, k, "uvu", True) for k, path in enumerate(conv.paths)],
        shared_weights=False,
        internal_weights=False,
    )
    center, neighbor, n_atoms = case.graph.center, case.graph.neighbor, len(case.graph.species)

    def layer(x, y, w):
        messages = product(x[neighbor], y, w)
        return messages.new_zeros(n_atoms, messages.shape[1]).index_add(0, center, messages)

    return layer, torch.cat([part.transpose(1, 2).flatten(1) for part in case.x], dim=1)


def training(function, leaves, cotangent):
    """Forward, derivatives with a graph, and the derivative of their squares."""
    out = function()
    by = torch.autograd.grad(out, leaves, cotangent, create_graph=True)
    return torch.autograd.grad(sum((part**2).sum() for part in by), leaves)


def time_ours(case, repeat):
    layout, edges = case.conv.layout, case.edges
    inputs, n = (case.x, case.y, case.w), len(case.x)
    rows = {"forward": milliseconds(lambda: fused.product(layout, *inputs, edges), repeat)}
    for name, wanted in (("grad x", "x"), ("grad Y", "y"), ("grad w", "w"), ("all", "xyw")):
        rows[name] = milliseconds(
            lambda wanted=wanted: fused.gradients(layout, inputs, case.g, edges, wanted), repeat
        )
    leaves = case.leaves()

    def layer():
        setting = autograd.Setting(fused, layout, edges)
        return autograd.convolve(setting, tuple(leaves[:n]), *leaves[n:])

    rows["training"] = milliseconds(lambda: training(layer, leaves, case.g), repeat)
    return rows


def time_e3nn(case, repeat, compiled=False):
    layer, x = e3nn_product(case)
    layer = torch.compile(layer) if compiled else layer
    with torch.no_grad():
        rows = {"forward": milliseconds(lambda: layer(x, case.y, case.w), repeat)}
        out = layer(x, case.y, case.w)
    g = torch.randn_like(out)
    leaves = [part.clone().requires_grad_() for part in (x, case.y, case.w)]
    forward = milliseconds(lambda: layer(*leaves), repeat)
    both = milliseconds(lambda: torch.autograd.grad(layer(*leaves), leaves, g), repeat)
    rows["all"] = both - forward
    if not compiled:  # compiled autograd has no second derivative
        rows["training"] = milliseconds(
            lambda: training(lambda: layer(*leaves), leaves, g), max(repeat // 3, 1)
        )
    return rows


def time_reference_compiled(case, repeat):
    """torch.compile of our own plain-torch definition."""
    conv = Convolution(
        case.conv.irreps_in, case.lmax, case.conv.irreps_in, False, backend="reference"
    )
    graph = case.graph

    @torch.compile
    def layer(x, y, w):
        return conv(x, y, w, graph)

    with torch.no_grad():
        return milliseconds(lambda: layer(case.x, case.y, case.w), repeat)


def time_inference(case, repeat):
    """Weights from a table inside the kernels and from the network."""
    conv, edges, lengths = case.conv, case.edges, case.lengths
    basis, mlp = BesselBasis(CUTOFF), ScalarMLP((8, 64, 64, conv.weight_numel))
    exact = ScalarMLP((8, 64, 64, conv.weight_numel)).double()
    table = tabulate(
        lambda r: exact(basis(r) * polynomial_envelope(r, CUTOFF).unsqueeze(1)), CUTOFF
    )
    inner = table.weights(lengths)
    embedded = basis(lengths).float()
    with torch.no_grad():
        network = milliseconds(lambda: mlp(embedded), repeat)
    return {
        "network": network,
        "forward with table": milliseconds(
            lambda: fused.product(conv.layout, case.x, case.y, inner, edges), repeat
        ),
        "all with table": milliseconds(
            lambda: fused.gradients(conv.layout, (case.x, case.y, inner), case.g, edges), repeat
        ),
    }


def time_geometry(graph, repeat):
    vectors = graph.vectors
    lengths, y = harmonics(vectors, 2, torch.float32)
    return {
        "harmonics": milliseconds(lambda: harmonics(vectors, 2, torch.float32), repeat),
        "harmonics, backward": milliseconds(
            lambda: harmonics_gradient(vectors, lengths, y), repeat
        ),
        "harmonics, torch": milliseconds(
            lambda: spherical_harmonics(2, torch.nn.functional.normalize(vectors, dim=1)), repeat
        ),
        "transposed edges": milliseconds(lambda: graph.replace().transpose, repeat),
    }


WORK = {"forward": "", "grad x": "x", "grad Y": "y", "grad w": "w", "all": "xyw"}


def print_table(ours, theirs, case, rate):
    print(f"{'':14}{'ms':>9}{'e3nn ms':>10}{'ratio':>8}{'GFLOP/s':>9}{'of matmul':>11}")
    for key, value in ours.items():
        other = theirs.get(key)
        line = f"{key:14}{value:9.2f}"
        line += f"{other:10.1f}{other / value:8.1f}" if other else " " * 18
        if key in WORK:
            speed = case.operations(WORK[key]) / value / 1e6
            line += f"{speed:9.1f}{speed / rate:11.2f}"
        print(line)


def compiled_peers(case, repeat, forward):
    """Rows of torch.compile (inductor's C++) and how much longer they take than `forward` ms."""
    peers = {
        "e3nn, compiled": lambda: time_e3nn(case, repeat, compiled=True)["forward"],
        "plain torch, compiled": lambda: time_reference_compiled(case, repeat),
    }
    found = {}
    for name, measure in peers.items():
        try:
            found[name] = measure()
        except Exception as error:  # no compiler, or one that fails, is no reason to stop
            print(f"{name}: left out, {type(error).__name__}: {str(error).splitlines()[0]}")
        else:
            print(f"forward, {name:26}{found[name]:9.2f} ms{found[name] / forward:9.1f} x matkit")
    return found


def report(name, case, rate, options):
    ours, theirs = time_ours(case, options.repeat), time_e3nn(case, options.slow_repeat)
    print(f"\n{name}: {len(case.conv.paths)} paths, {case.conv.weight_numel} weights per edge")
    print_table(ours, theirs, case, rate)
    found = {"matkit": ours, "e3nn": theirs, "inference": time_inference(case, options.repeat)}
    for key, value in found["inference"].items():
        print(f"{key:20}{value:9.2f} ms")
    if options.compile:
        found["torch.compile"] = compiled_peers(case, options.slow_repeat, ours["forward"])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("--repeat", type=int, default=51)
    parser.add_argument("--slow-repeat", type=int, default=7)
    parser.add_argument(
        "--compile", action="store_true", help="time torch.compile as well (minutes)"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    graph, rate = crystal(), arithmetic.matmul_rate(options.repeat)
    threads = torch.get_num_threads()
    print(f"{len(graph.species)} atoms, {len(graph.center)} edges, {threads} threads, ", end="")
    print(f"matrix product {rate:.0f} GFLOP/s; fractions of it count what benchmarks/arithmetic.py")
    print("says the algorithm needs, couplings that are zero and e3nn's detours not included")
    geometry = time_geometry(graph, options.repeat)
    for key, value in geometry.items():
        print(f"{key:20}{value:9.3f} ms")
    found = {name: report(name, Case(name, graph), rate, options) for name in LAYERS}
    found |= {"geometry": geometry, "matmul GFLOP/s": rate, "threads": threads}
    found |= {"edges": len(graph.center), "torch": torch.__version__, "cpu": platform.processor()}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
