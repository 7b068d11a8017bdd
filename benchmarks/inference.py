"""Time energy + forces + stress through the ASE calculators of matkit and its peers.

    MACE=/path/to/mace/bin/python
    NEQUIP=/path/to/nequip/bin/python
    $MACE benchmarks/mace_models.py results/mace
    $NEQUIP benchmarks/nequip_models.py results/nequip
    PEERS="--env mace=$MACE --env symmetrix=$MACE --env nequip=$NEQUIP"
    python benchmarks/inference.py $PEERS
    python benchmarks/inference.py $PEERS --without-avx512

Every calculator runs on every structure in a process of its own, one after the other on the same
threads, so that peak memory is its own too. Peers whose pins clash with matkit's are given an
environment of their own with ``--env name=python``; those that cannot be imported are named and
left out. The last line is the same table as on a processor without AVX-512: kernels of matkit,
torch, MKL, oneDNN, OpenBLAS and numpy keep to AVX2; what a peer has compiled itself does not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from contenders import CONTENDERS, STRUCTURES

HERE = Path(__file__).parent
# What keeps libraries from AVX-512; matkit's own kernels are kept from it by `worker.py`.
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peers", default="sevenn,chgnet,mace,symmetrix,nequip", help="packages beside matkit"
    )
    parser.add_argument("--env", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--models", help="texts, one of which a contender's label contains")
    parser.add_argument("--structures", default=",".join(STRUCTURES))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--without-avx512", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("results/benchmark-inference.json"))
    return parser.parse_args()


def measure(python: str, label: str, structure: str, options: argparse.Namespace) -> dict:
    command = [python, str(HERE / "worker.py"), label, structure]
    command += [str(options.threads), str(options.repeats)]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    environment |= AVX2 if options.without_avx512 else {}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}


def importable(python: str, package: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def matrix_rate(threads: int, without_avx512: bool) -> float:
    """GFLOP/s of a matrix product, in a process of its own like everything measured."""
    code = f"import torch, arithmetic; torch.set_num_threads({threads}); "
    code += "print(arithmetic.matmul_rate())"
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(HERE)}
    environment |= AVX2 if without_avx512 else {}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    return float(done.stdout)


def add_fractions(results: dict[str, dict[str, dict]], rate: float) -> dict[str, dict[str, dict]]:
    """Add the share of the machine's rate where the arithmetic is known; return those rows."""
    known = {}
    for label, row in results.items():
        for cell in row.values():
            if "gflop" in cell:
                cell["fraction"] = cell["gflop"] / (1e-3 * cell["ms"]) / rate
                known[label] = row
    return known


def table(
    results: dict[str, dict[str, dict]], key: str, structures: list[str], digits: int = 1
) -> str:
    width = max(map(len, results)) + 2
    rows = ["".ljust(width) + "".join(name.rjust(12) for name in structures)]
    for label, row in results.items():
        cells = (f"{row[s][key]:.{digits}f}" if key in row[s] else "failed" for s in structures)
        rows.append(label.ljust(width) + "".join(cell.rjust(12) for cell in cells))
    return "\n".join(rows)


def main() -> None:
    options = arguments()
    pythons = dict(item.split("=", 1) for item in options.env)
    packages = {"matkit", *filter(None, options.peers.split(","))}
    structures = options.structures.split(",")
    results: dict[str, dict[str, dict]] = {}
    texts = (options.models or "").split(",")
    for label, (package, _) in CONTENDERS.items():
        if package not in packages or not any(text in label for text in texts):
            continue
        if not importable(pythons.get(package, sys.executable), package):
            print(f"{label}: {package} is not installed, left out", file=sys.stderr)
            continue
        results[label] = {}
        for structure in structures:
            python = pythons.get(package, sys.executable)
            result = measure(python, label, structure, options)
            results[label][structure] = result
            print(f"{label} {structure}: {result.get('ms', result.get('error'))}", file=sys.stderr)
    if not results:
        sys.exit("nothing to time")
    print("\nms per energy + forces + stress, fresh positions, median")
    print(table(results, "ms", structures))
    print("\npeak memory of the process, MB")
    print(table(results, "peak_mb", structures))
    rate = matrix_rate(options.threads, options.without_avx512)
    known = add_fractions(results, rate)
    if known:
        print(f"\nfraction of the matrix-product rate, {rate:.0f} GFLOP/s here; operations are")
        print("counted by benchmarks/arithmetic.py: what energy and forces need, gates and")
        print("harmonics left out")
        print(table(known, "fraction", structures, digits=3))
    document = {
        "results": results,
        "threads": options.threads,
        "without_avx512": options.without_avx512,
        "matrix_gflops": rate,
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1))
    print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    main()
