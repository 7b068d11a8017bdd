"""Time one calculator on one structure and print a line of JSON; started by inference.py."""

from __future__ import annotations

import json
import os
import resource
import sys
import time

import numpy as np
import torch
from contenders import CONTENDERS, STRUCTURES

BUDGET = 12.0  # seconds of measuring, unless the repeats are done before


def gflop(calculator, n_atoms: int) -> dict[str, float]:
    """Arithmetic of the last call, if the calculator is matkit's, of a NequIP-like network."""
    if CONTENDERS[sys.argv[1]][0] != "matkit":
        return {}
    import arithmetic

    network = calculator.potentials[0].network
    if not hasattr(network.interactions[0], "gate"):  # others are not counted
        return {}
    graph = calculator.neighbors.graph(calculator.structures(calculator.atoms))
    return {"gflop": arithmetic.network(network, n_atoms, len(graph.center)) / 1e9}


def keep_to_avx2() -> None:
    """Let matkit's kernels be those of a processor without AVX-512, as `inference.py` asks for."""
    from matkit.nn.kernels import compiler

    compiler.llvm.get_host_cpu_name = lambda: "haswell"
    vars(compiler).update(_features=lambda: "+avx2,+fma", vector_unit=lambda: (32, 16))


def main(label: str, structure: str, threads: int, repeats: int) -> None:
    torch.set_num_threads(threads)
    if CONTENDERS[label][0] == "matkit" and os.environ.get("ATEN_CPU_CAPABILITY") == "avx2":
        keep_to_avx2()
    started = time.perf_counter()
    atoms = STRUCTURES[structure]()
    atoms.calc = CONTENDERS[label][1]()
    rng = np.random.default_rng(0)

    def call() -> float:
        # Fresh positions, as far apart as those of two steps of dynamics.
        atoms.positions += rng.normal(scale=0.005, size=atoms.positions.shape)
        begin = time.perf_counter()
        atoms.get_potential_energy()
        atoms.get_forces()
        if atoms.pbc.all():
            atoms.get_stress()
        return time.perf_counter() - begin

    call()
    first = time.perf_counter() - started
    for _ in range(4):  # TorchScript of the peers recompiles during its first calls
        call()
    times: list[float] = []
    while len(times) < 3 or (len(times) < repeats and sum(times) < BUDGET):
        times.append(call())
    result = {
        "ms": 1e3 * float(np.median(times)),
        "ms_min": 1e3 * min(times),
        "repeats": len(times),
        "first_s": first,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "torch": torch.__version__,
    }
    result |= gflop(atoms.calc, len(atoms))
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
