"""What symmetry buys: networks with and without it, each trained for the same time.

    python experiments/symmetry.py OUT --minutes 60 --systems ethanol --threads 1

Systems are rMD17's ethanol and aspirin (950 frames to learn from, 50 to validate, 1,000 to test)
and mlearn's silicon. How many epochs fit into the time is found by a short training first, so that
every learning rate falls to its end; the rates are those that `--scan` found best on the validation
set after a tenth of the time. Prints one row a network: errors on the test set, how far predictions
turn with structures, the energy drift of ten picoseconds at constant energy, and the time of a
step. The same command goes on after any end.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from pathlib import Path
from typing import Any

from ase import Atoms
from common import data, errors, frames, matkit, metrics, table

import matkit as mk

FAENET = {"name": "faenet", "cutoff": 5.0, "hidden": 128, "filters": 128, "layers": 4}
TRANSFORMER = {"name": "transip", "cutoff": 5.0, "width": 192, "heads": 8, "layers": 4}
PLAIN = {**TRANSFORMER, "latent": False}


def averaged(mode: str, backbone: dict[str, Any]) -> dict[str, Any]:
    """Return the architecture of a network that is averaged over turned copies."""
    return {"name": "symmetrized", "mode": mode, "backbone": backbone}


# Architecture, largest learning rate, and weight of the penalty.
NETWORKS: dict[str, tuple[str | dict[str, Any], float, float]] = {
    "Facet": ("facet-s", 0.005, 0.0),
    "NequIP": ("nequip", 0.005, 0.0),
    "tensors (HotPP)": ("hotpp-s", 0.002, 0.0),
    "FAENet, frames": (averaged("frames", FAENET), 0.002, 0.0),
    "FAENet, stochastic": (averaged("stochastic", FAENET), 0.002, 0.0),
    "transformer, augmentation": (averaged("augmentation", PLAIN), 0.001, 0.0),
    "transformer, TransIP": (averaged("augmentation", TRANSFORMER), 0.001, 0.1),
    "transformer, stochastic frames": (averaged("stochastic", PLAIN), 0.001, 0.0),
}
SYSTEMS = {
    "ethanol": ("rmd17/ethanol_train_01.extxyz.gz", "rmd17/ethanol_test_01.extxyz.gz"),
    "aspirin": ("rmd17/aspirin_train_01.extxyz.gz", "rmd17/aspirin_test_01.extxyz.gz"),
    "Si": ("mlearn/Si_train.extxyz.gz", "mlearn/Si_test.extxyz.gz"),
}
RATES = (0.0005, 0.001, 0.002, 0.005, 0.01)
COMMON = {"valid-fraction": 0.05, "forces-weight": 100, "batch-size": 5, "E0s": "fit"}
PICOSECONDS, STEP, TEMPERATURE = 10, 0.5, 300.0


def main() -> None:
    """Print one table a system."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scan", action="store_true", help="print what other rates reach, only")
    args = parser.parse_args()
    for system in args.systems:
        work = scan if args.scan else row
        print(f"\n{system}\n\n{table([r for n in args.networks for r in work(n, system, args)])}")


def scan(name: str, system: str, args: argparse.Namespace) -> list[dict[str, object]]:
    """Return what each learning rate reaches on the validation set after a tenth of the time."""
    rows = []
    for rate in RATES:
        folder = trained(name, system, args, args.minutes / 10, f"-rate-{rate:g}", rate)
        best = min(float(line["valid_loss"]) for line in log(folder))
        rows.append({"network": name, "rate": rate, "validation loss": best})
    return rows


def row(name: str, system: str, args: argparse.Namespace) -> list[dict[str, object]]:
    """Return what is found of a network."""
    folder = trained(name, system, args, args.minutes)
    model = folder / "model.safetensors"
    turned = folder / "turned"
    if not (turned / "metrics.json").exists():
        test = data(*SYSTEMS[system][1].split("/"))
        matkit("evaluate", model, test, "--equivariance", "--out", turned, threads=args.threads)
    found = metrics(turned)
    first = frames(data(*SYSTEMS[system][1].split("/")))[0]
    return [
        {
            "network": name,
            "parameters": json.loads((folder / "size.json").read_text()),
            "epochs": int(float(log(folder)[-1]["epoch"])),
            "F MAE, meV/Å": errors(metrics(folder), "test")["forces_mae_mev_ang"],
            "F error of turns, meV/Å": 1e3 * found["equivariance"]["forces"],
            "E error of turns, meV/atom": 1e3 * found["equivariance"]["energy"],
            "drift, meV/atom/ps": drift(model, first, folder / "drift.json"),
            "ms a step": step_time(model, first),
        }
    ]


def trained(
    name: str,
    system: str,
    args: argparse.Namespace,
    minutes: float,
    suffix: str = "",
    rate: float | None = None,
) -> Path:
    """Train a network for some minutes, or go on with it; return its folder."""
    architecture, usual, penalty = NETWORKS[name]
    label = f"{system}-{name}{suffix}".replace(" ", "-").replace(",", "").replace("(", "")
    label = label.replace(")", "")
    train, test = (data(*path.split("/")) for path in SYSTEMS[system])
    options: dict[str, Any] = {
        **COMMON,
        "model": architecture if isinstance(architecture, str) else json.dumps(architecture),
        "train-file": train,
        "test-file": test,
        "lr": usual if rate is None else rate,
        "work-dir": args.out,
        "restart": "auto",
    }
    if penalty:
        options["extra-losses"] = json.dumps({"penalty": penalty})
    trial = args.out / f"{label}-trial.json"
    if not trial.exists():
        seconds = epoch_seconds(options, f"{label}-trial", args)
        trial.write_text(json.dumps(seconds))
    count = max(2, round(60 * minutes / json.loads(trial.read_text())))
    folder = args.out / label
    if not (folder / "metrics.json").exists():
        whole = {**options, "name": label, "max-num-epochs": count}
        matkit("train", *flags(whole), threads=args.threads)
        size = sum(p.numel() for p in mk.load(folder / "model.safetensors").parameters())
        (folder / "size.json").write_text(json.dumps(size))
    return folder


def epoch_seconds(options: dict[str, Any], name: str, args: argparse.Namespace) -> float:
    """Return the time of an epoch, of the second and third of a training."""
    short = {**options, "name": name, "max-num-epochs": 3, "report": "false"}
    short.pop("test-file")
    matkit("train", *flags(short), threads=args.threads)
    minutes = [float(line["minutes"]) for line in log(args.out / name)]
    return 60 * (minutes[-1] - minutes[0]) / (len(minutes) - 1)


def flags(options: dict[str, Any]) -> list[str]:
    """Return options as words of the command line."""
    words = []
    for key, value in options.items():
        words += (
            ["--no-report"] if (key, value) == ("report", "false") else [f"--{key}", str(value)]
        )
    return words


def log(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the log of a training."""
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def drift(model: Path, atoms: Atoms, path: Path) -> float:
    """Return the energy drift of a molecule or crystal at constant energy, meV/atom/ps."""
    if not path.exists():
        calc = mk.load_calculator(model, dtype="float64", device="cpu")
        steps = round(1000 * PICOSECONDS / STEP)
        options = {"ensemble": "nve", "temperature": 2 * TEMPERATURE, "timestep": STEP}
        result = mk.md(atoms, calc, steps=steps, seed=0, **options)
        path.write_text(json.dumps(result.drift))
    return json.loads(path.read_text())


def step_time(model: Path, atoms: Atoms) -> float:
    """Return the median time of energy and forces of moving atoms, ms."""
    calc = mk.load_calculator(model, dtype="float32", device="cpu")
    times = []
    for seed in range(30):
        moved = atoms.copy()
        moved.rattle(0.01, seed=seed)
        begin = time.perf_counter()
        calc.calculate(moved, ["energy", "forces"])
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times[10:])


if __name__ == "__main__":
    main()
