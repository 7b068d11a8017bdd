"""Times the symmetric contraction: python benchmarks/contraction.py [--threads N] [--avx2].

Of 216 atoms of two species with 128 channels of the degrees 0 to 3, to the order 3, in float32; per
atom, the best of many calls. Where mace-torch is installed, which cannot share an environment with
matkit, its own contraction is timed instead:
PYTHONPATH=$PWD TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 python benchmarks/contraction.py
"""

from __future__ import annotations

import argparse
import importlib.util
import time

import torch

ATOMS, CHANNELS, SPECIES, LMAX = 216, 128, 2, 3


def microseconds(function, seconds):
    """Best time of a call per atom, of at least three calls.

    With one thread it is the processor's time, in which other processes do not count.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    function()
    times = []
    while len(times) < 3 or sum(times) < seconds:
        begin = clock()
        function()
        times.append(clock() - begin)
    return 1e6 * min(times) / ATOMS


def square(parts):
    return sum(part.square().sum() for part in parts)


def steps(contract, x, weights):
    """The value, the derivative by x, and a step of training on that derivative, by autograd."""

    def value():
        with torch.no_grad():
            contract()

    def force():
        return torch.autograd.grad(square(contract()), x, create_graph=True)

    return {
        "value": value,
        "value and derivative": lambda: torch.autograd.grad(square(contract()), x),
        "step of training": lambda: torch.autograd.grad(square(force()), weights),
    }


def by_mace_torch(top):
    from e3nn import o3
    from mace.modules.symmetric_contraction import SymmetricContraction

    def irreps(lmax):
        return o3.Irreps([(CHANNELS, (degree, (-1) ** degree)) for degree in range(lmax + 1)])

    layer = SymmetricContraction(irreps(LMAX), irreps(top), 3, num_elements=SPECIES)
    x = torch.randn(ATOMS, CHANNELS, (LMAX + 1) ** 2, requires_grad=True)
    one_hot = torch.eye(SPECIES)[torch.arange(ATOMS) % SPECIES]
    weights = [weight for weight in layer.parameters() if weight.requires_grad]
    yield "mace-torch", steps(lambda: [layer(x, one_hot)], [x], weights)


def by_matkit(top):
    from matkit.nn.contraction import SymmetricContraction
    from matkit.nn.frozen.contraction import FrozenContraction
    from matkit.nn.irreps import Irrep
    from matkit.nn.kernels.contraction import reference

    irreps = [Irrep(CHANNELS, degree, (-1) ** degree) for degree in range(LMAX + 1)]
    layer = SymmetricContraction(tuple(irreps), tuple(irreps[: top + 1]), 3, SPECIES)
    index = torch.arange(ATOMS) % SPECIES
    x = tuple(torch.randn(ATOMS, i.dim, CHANNELS, requires_grad=True) for i in irreps)
    weights = list(layer.parameters())

    def plain():
        return reference.contract(layer.layout, x, layer.path_weights(), index)

    yield "plain torch", steps(plain, x, weights)
    yield "matkit", steps(lambda: layer(x, index), x, weights)
    frozen, fixed = FrozenContraction.of(layer), tuple(part.detach() for part in x)
    g = frozen.forward(fixed, index)
    yield (
        "matkit, frozen",
        {
            "value": lambda: frozen.forward(fixed, index),
            "derivative": lambda: frozen.backward(fixed, g, index),
        },
    )


def forget_avx512():
    """Let kernels be compiled for a processor without AVX-512."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    for name in features:
        features[name] &= "avx512" not in name
    llvm.get_host_cpu_features = lambda: features


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each number")
    parser.add_argument("--avx2", action="store_true", help="as on a processor without AVX-512")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.avx2:
        forget_avx512()
    peer = importlib.util.find_spec("mace") is not None
    print(f"microseconds per atom, {options.threads} threads")
    for top in range(3):
        for name, functions in (by_mace_torch if peer else by_matkit)(top):
            found = [f"{k} {microseconds(f, options.seconds):.2f}" for k, f in functions.items()]
            print(f"to degrees 0..{top}, {name}: {', '.join(found)}", flush=True)


if __name__ == "__main__":
    main()
