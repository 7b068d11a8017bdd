"""Compare products of features: 3j symbols, Gaunt's on a sphere, vector signals, by degree.

    python benchmarks/products.py --threads 2

Both factors and the product have all degrees up to l. `coupling` keeps every path in channels of
its own; `table` is the Gaunt product as one table of numbers, and makes, as `gaunt` and `vector`
do, one part per degree. Printed are milliseconds of forward and of forward with backward, also per
path, and the largest error in float32 against float64, relative to the largest number.
"""

from __future__ import annotations

import argparse
import time
from itertools import product as all_of
from statistics import median

import torch
from torch import Tensor, nn

from matkit.nn.products import feature_product


def paths_up_to(lmax: int, odd: bool) -> list[tuple[int, int, int]]:
    triples = all_of(range(lmax + 1), repeat=3)
    allowed = [(a, b, c) for a, b, c in triples if abs(a - b) <= c <= a + b]
    return [path for path in allowed if sum(path) % 2 == odd]


class Table(nn.Module):
    """Another product as one dense table, found by multiplying unit vectors."""

    def __init__(self, layer: nn.Module, lmax: int) -> None:
        super().__init__()
        self.sizes = [2 * degree + 1 for degree in range(lmax + 1)]
        number = sum(self.sizes)
        one = torch.eye(number, dtype=torch.float64)
        x, y = one.repeat_interleave(number, 0), one.repeat(number, 1)
        made = layer(*(f.unsqueeze(2).split(self.sizes, dim=1) for f in (x, y)))
        self.table = torch.cat(made, dim=1).view(number, number, number)

    def forward(self, x: tuple[Tensor, ...], y: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        table = self.table.to(x[0])
        left = torch.einsum("abc,nak->nbck", table, torch.cat(x, dim=1))
        made = torch.einsum("nbck,nbk->nck", left, torch.cat(y, dim=1))
        return made.split(self.sizes, dim=1)


def milliseconds(function, repeats: int) -> float:
    function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return 1e3 * median(times)


def relative_error(exact: Tensor, made: Tensor) -> float:
    return ((exact - made.detach()).abs().max() / exact.abs().max()).item()


def row(kind: str, paths: list[tuple[int, int, int]], options: argparse.Namespace) -> str:
    lmax = max(max(path) for path in paths)
    layer: nn.Module = feature_product("gaunt" if kind == "table" else kind, paths)
    if kind == "table":
        layer = Table(layer, lmax)
    shapes = [(options.atoms, 2 * degree + 1, options.channels) for degree in range(lmax + 1)]
    x, y = (tuple(torch.randn(s, dtype=torch.float64) for s in shapes) for _ in "xy")
    exact = layer(x, y)
    x32, y32 = (tuple(p.float().requires_grad_() for p in f) for f in (x, y))
    made = layer(x32, y32)
    error = max(relative_error(*pair) for pair in zip(exact, made, strict=True))

    def both() -> None:
        total = sum(part.sum() for part in layer(x32, y32))
        torch.autograd.grad(total, [*x32, *y32], allow_unused=True)

    with torch.no_grad():
        forward = milliseconds(lambda: layer(x32, y32), options.repeats)
    there_and_back = milliseconds(both, options.repeats)
    return (
        f"{lmax:3d} {kind:9s} {len(paths):6d} {forward:9.2f} {there_and_back:9.2f} "
        f"{forward / len(paths):9.3f} {error:9.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lmax", type=int, default=6)
    parser.add_argument("--atoms", type=int, default=500)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print("  l product    paths   forward      both  per path     error")
    for lmax in range(1, options.lmax + 1):
        even, odd = paths_up_to(lmax, False), paths_up_to(lmax, True)
        print(row("coupling", even + odd, options))
        print(row("coupling", even, options))
        print(row("table", even, options))
        print(row("gaunt", even, options))
        print(row("vector", odd, options))


if __name__ == "__main__":
    main()
