"""What symmetry buys: networks with and without it, each trained for the same time.

    python experiments/symmetry.py OUT --minutes 60 --systems ethanol --threads 1

Systems are rMD17's ethanol and aspirin (950 frames to learn from, 50 to validate, 1,000 to test)
and mlearn's silicon. Time is equal, not the number of epochs: a network that turns each frame, or
that pays for a penalty, sees fewer of them. How many epochs fit is found by a short training first,
so that every learning rate falls to its end; optimisers and rates are those that `--scan` found
best on the validation set after a tenth of the time. One row a network, printed and kept in
`OUT/SYSTEM.json`: errors on the test set, how far predictions turn with structures, how far
features are from those that TransIP predicts for turned copies (latent), the energy drift at
constant energy, and the time of a step. `OUT/SYSTEM.png` shows how errors fall in training. The
same command goes on after any end.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ase import Atoms
from ase.io import read
from common import data, frames, matkit, metrics, save, table
from matplotlib.figure import Figure

import matkit as mk
from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.report.figures import png
from matkit.structures import cat


class Network(NamedTuple):
    """How a network is trained and used.

    Attributes:
        model: Architecture, or the name of one.
        rate: Largest learning rate.
        optimizer: Name of the optimizer, as of `matkit train --optimizer`.
        penalty: Weight of the penalty in the loss.
        symmetrize: Average over turned copies when it predicts, and not in training.
    """

    model: str | dict[str, Any]
    rate: float
    optimizer: str = "adamw"
    penalty: float = 0.0
    symmetrize: str | None = None


FAENET = {"name": "faenet", "cutoff": 5.0, "hidden": 128, "filters": 128, "layers": 4}
TRANSFORMER = {"name": "transip", "cutoff": 5.0, "width": 192, "heads": 4, "layers": 4}
TRANSFORMER |= {"distances": True, "wavelengths": [1.0, 30.0]}
PLAIN = {**TRANSFORMER, "latent": False}


def averaged(mode: str, backbone: dict[str, Any]) -> dict[str, Any]:
    """Return the architecture of a network that is averaged over turned copies."""
    return {"name": "symmetrized", "mode": mode, "backbone": backbone}


NETWORKS = {
    "Facet": Network("facet-s", 0.02, "muon"),
    "NequIP": Network("nequip", 0.04, "muon"),
    "tensors (HotPP)": Network("hotpp-s", 0.02, "muon"),
    "FAENet, frames": Network(averaged("frames", FAENET), 0.005, "muon"),
    "FAENet, stochastic": Network(averaged("stochastic", FAENET), 0.005, "muon"),
    "transformer, augmentation": Network(averaged("augmentation", PLAIN), 0.005, "muon"),
    "transformer, grid:24 at evaluation only": Network(
        averaged("augmentation", PLAIN), 0.005, "muon", symmetrize="grid:24"
    ),
    "transformer, TransIP": Network(averaged("augmentation", TRANSFORMER), 0.005, "muon", 100.0),
    "transformer, stochastic frames": Network(averaged("stochastic", PLAIN), 0.005, "muon"),
}
SYSTEMS = {
    "ethanol": ("rmd17/ethanol_train_01.extxyz.gz", "rmd17/ethanol_test_01.extxyz.gz"),
    "aspirin": ("rmd17/aspirin_train_01.extxyz.gz", "rmd17/aspirin_test_01.extxyz.gz"),
    "Si": ("mlearn/Si_train.extxyz.gz", "mlearn/Si_test.extxyz.gz"),
}
RATES = {"adamw": (0.0005, 0.001, 0.002, 0.005, 0.01), "muon": (0.002, 0.005, 0.01, 0.02, 0.04)}
COMMON = {"valid-fraction": 0.05, "forces-weight": 100, "batch-size": 5, "E0s": "fit"}
# The frames of mlearn come in groups; whole ones would leave perfect crystals to validate on.
OPTIONS = {"Si": {"valid-fraction": 0.1, "split-by": "random", "allow-leakage": True}}
STEP, TEMPERATURE = 0.5, 300.0
# Structures whose turned features are compared.
LATENT = 100


def main() -> None:
    """Print one table a system."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument(
        "--picoseconds", type=float, default=10.0, help="time of the drift; 0 leaves it out"
    )
    parser.add_argument("--train", type=int, default=1000, help="structures to learn from")
    parser.add_argument("--test", type=int, default=1000, help="structures to test on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scan", action="store_true", help="print what other rates reach, only")
    parser.add_argument(
        "--optimizers", nargs="+", choices=RATES, default=list(RATES), help="that are scanned"
    )
    args = parser.parse_args()
    for system in args.systems:
        work = scan if args.scan else row
        rows = [found for name in args.networks for found in work(name, system, args)]
        print(f"\n{system}\n\n{table(rows)}")
        keep(args.out / f"{system}{'-rates' if args.scan else ''}.json", rows)
        if not args.scan:
            (args.out / f"{system}.png").write_bytes(png(curves(system, args.out)))


def keep(path: Path, rows: list[dict[str, object]]) -> None:
    """Write rows to a file, in which those of other networks and optimizers stay."""
    found = {(row["network"], row.get("optimizer")) for row in rows}
    old = json.loads(path.read_text()) if path.exists() else []
    others = (row for row in old if (row["network"], row.get("optimizer")) not in found)
    rows = [*others, *rows]
    path.write_text(json.dumps(rows, indent=1))


def curves(system: str, out: Path) -> Figure:
    """Draw the errors on the validation set of all trainings against the time."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    drawn = set()
    for name, network in NETWORKS.items():
        folder = out / label(network, system)
        if (folder / "size.json").exists() and folder not in drawn:
            lines = log(folder)
            minutes = [float(line["minutes"]) for line in lines]
            axes.plot(
                minutes, [1e3 * float(line["valid_forces_mae"]) for line in lines], label=name
            )
            drawn.add(folder)
    axes.set(yscale="log", xlabel="training, minutes of one core")
    axes.set(ylabel="force MAE (validation set), meV/Å", title=system)
    axes.legend(fontsize=8)
    return figure


def scan(name: str, system: str, args: argparse.Namespace) -> list[dict[str, object]]:
    """Return what each learning rate reaches on the validation set after a tenth of the time."""
    rows = []
    for optimizer, rate in ((one, rate) for one in args.optimizers for rate in RATES[one]):
        network = NETWORKS[name]._replace(rate=rate, optimizer=optimizer)
        folder = trained(network, system, args, args.minutes / 10, f"-{optimizer}-{rate:g}")
        best = min(float(line["valid_loss"]) for line in log(folder))
        rows.append(
            {"network": name, "optimizer": optimizer, "rate": rate, "validation loss": best}
        )
    return rows


def row(name: str, system: str, args: argparse.Namespace) -> list[dict[str, object]]:
    """Return what is found of a network."""
    network = NETWORKS[name]
    folder = trained(network, system, args, args.minutes)
    test = chosen(system, 1, args)
    found = metrics(evaluated(network, folder, test, args.threads))
    first = read(test, ":")[:LATENT]
    calcs = [
        mk.load_calculator(
            folder / "model.safetensors", dtype=t, device="cpu", symmetrize=network.symmetrize
        )
        for t in ("float64", "float32")
    ]
    suffix = "" if network.symmetrize is None else "-averaged"
    return [
        {
            "network": name,
            "parameters": json.loads((folder / "size.json").read_text()),
            "epochs": int(float(log(folder)[-1]["epoch"])),
            "minutes": float(log(folder)[-1]["minutes"]),
            "F MAE, meV/Å": 1e3 * found["groups"][0]["errors"]["forces"]["mae"],
            "F error of turns, meV/Å": 1e3 * found["equivariance"]["forces"],
            "E error of turns, meV/atom": 1e3 * found["equivariance"]["energy"],
            "latent error": latent_error(folder, first) if network.penalty else None,
            "drift, meV/atom/ps": drift(
                calcs[0], first[0], args.picoseconds, folder / f"drift{suffix}.json"
            ),
            "ms a step": step_time(calcs[1], first[0]),
        }
    ]


def chosen(system: str, part: int, args: argparse.Namespace) -> Path:
    """Return the file of so many structures, evenly spread, of the training (0) or test set (1)."""
    count = (args.train, args.test)[part]
    path = args.out / f"{system}-{('train', 'test')[part]}-{count}.extxyz"
    if not path.exists():
        every = frames(data(*SYSTEMS[system][part].split("/")))
        return save(path, every[:: max(1, len(every) // count)][:count])
    return path


def evaluated(network: Network, folder: Path, test: Path, threads: int) -> Path:
    """Evaluate a network on the test set, with turns; return the folder of the results."""
    out = folder / ("turned" if network.symmetrize is None else "averaged")
    if not (out / "metrics.json").exists():
        words = ["--symmetrize", network.symmetrize] if network.symmetrize else []
        model = folder / "model.safetensors"
        matkit("evaluate", model, test, "--equivariance", "--out", out, *words, threads=threads)
    return out


def label(network: Network, system: str) -> str:
    """Return a name for the trainings of a network; those that differ in its use share one."""
    twins = [name for name, other in NETWORKS.items() if other.model == network.model]
    return "".join(c for c in f"{system}-{twins[0]}".replace(" ", "-") if c not in ",()")


def trained(
    network: Network, system: str, args: argparse.Namespace, minutes: float, suffix: str = ""
) -> Path:
    """Train a network for some minutes, or go on with it; return its folder."""
    model = network.model
    options: dict[str, Any] = {
        **COMMON,
        **OPTIONS.get(system, {}),
        "model": model if isinstance(model, str) else json.dumps(model),
        "train-file": chosen(system, 0, args),
        "optimizer": network.optimizer,
        "lr": network.rate,
        "work-dir": args.out,
        "restart": "auto",
    }
    if network.penalty:
        options["extra-losses"] = json.dumps({"penalty": network.penalty})
    name = label(network, system)
    seconds = epoch_seconds(options, f"{name}-{network.optimizer}-trial", args)
    count = max(2, round(60 * minutes / seconds))
    folder = args.out / f"{name}{suffix}"
    if not (folder / "size.json").exists():
        whole = {**options, "name": folder.name, "max-num-epochs": count}
        matkit("train", *flags(whole), "--no-report", threads=args.threads)
        size = sum(p.numel() for p in mk.load(folder / "model.safetensors").parameters())
        (folder / "size.json").write_text(json.dumps(size))
    return folder


def epoch_seconds(options: dict[str, Any], name: str, args: argparse.Namespace) -> float:
    """Return the time of an epoch, of the second of a training."""
    path = args.out / f"{name}.json"
    if not path.exists():
        short = {**options, "name": name, "max-num-epochs": 2}
        matkit("train", *flags(short), "--no-report", threads=args.threads)
        minutes = [float(line["minutes"]) for line in log(args.out / name)]
        path.write_text(json.dumps(60 * (minutes[1] - minutes[0])))
    return json.loads(path.read_text())


def flags(options: dict[str, Any]) -> list[str]:
    """Return options as words of the command line."""
    words = [
        (f"--{key}",) if value is True else (f"--{key}", str(value))
        for key, value in options.items()
    ]
    return [word for pair in words for word in pair]


def log(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the log of a training."""
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def latent_error(folder: Path, test: list[Atoms]) -> float:
    """Return the error of features predicted for turned copies, relative to these, over atoms."""
    model = mk.load(folder / "model.safetensors").train()
    torch.manual_seed(0)
    graph = model.featurize(cat([from_ase(atoms) for atoms in test[:LATENT]]))
    with torch.no_grad():
        return float(model.network(graph)["penalty"].mean() ** 0.5)


def drift(calc: MatkitCalculator, atoms: Atoms, picoseconds: float, path: Path) -> float | None:
    """Return the energy drift of a molecule or crystal at constant energy, meV/atom/ps."""
    if not picoseconds:
        return None
    if not path.exists():
        steps = round(1000 * picoseconds / STEP)
        options = {"ensemble": "nve", "temperature": 2 * TEMPERATURE, "timestep": STEP}
        result = mk.md(atoms, calc, steps=steps, seed=0, stats_every=10, **options)
        path.write_text(json.dumps(result.drift))
    return json.loads(path.read_text())


def step_time(calc: MatkitCalculator, atoms: Atoms) -> float:
    """Return the median time of energy and forces of moving atoms, ms."""
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
