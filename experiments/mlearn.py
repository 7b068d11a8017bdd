"""Train one Facet per element of mlearn, and mace-torch on the same files for the same time.

    python experiments/mlearn.py OUT --mace .envs/mace-torch/bin/python

Both use the same number of threads. mace-torch keeps its defaults but for the names of the files;
`--mace-dtype float32` makes its steps cheaper than its default does. Its model is written at the
end of an epoch: if its first one ends later than Facet's whole training, it gets the time for it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

from common import data, errors, matkit, metrics, table

# Epochs of the recipe, so that none takes half an hour on one core.
EPOCHS = {"Ni": 16, "Cu": 16, "Li": 30, "Si": 40}
HERE = Path(__file__).parent


def files(element: str) -> tuple[Path, Path]:
    """Return training and test set of an element."""
    return tuple(data("mlearn", f"{element}_{kind}.extxyz.gz") for kind in ("train", "test"))


def train_facet(element: str, out: Path, threads: int) -> dict[str, object]:
    """Train, or read what was trained before; the time is that of the whole command."""
    folder = out / f"facet-{element}"
    if not (folder / "metrics.json").exists():
        train, test = files(element)
        config = HERE.parent / "configs" / "training" / "mlearn.yaml"
        options = {"train-file": train, "test-file": test, "name": folder.name, "work-dir": out}
        options["max-num-epochs"] = EPOCHS[element]
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        minutes = matkit("train", "--config", config, *flags, threads=threads)
        (out / f"{folder.name}.json").write_text(json.dumps({"minutes": minutes}))
    found = metrics(folder)
    spent = json.loads((out / f"{folder.name}.json").read_text())
    return {**spent, "epochs": found["settings"]["max_num_epochs"], **errors(found, "test")}


def train_mace(
    element: str, out: Path, python: Path, minutes: float, threads: int, dtype: str
) -> dict[str, object]:
    """Train mace-torch in its own environment, or read what was trained before."""
    folder = out / f"mace-{element}"
    if not (folder / "errors.json").exists():
        script = HERE / "train_mace.py"
        options = ["--minutes", minutes, "--threads", threads, "--out", folder]
        command = [python, script, *files(element), *options, f"--default_dtype={dtype}"]
        subprocess.run(list(map(str, command)), check=True)
    return json.loads((folder / "errors.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--elements", nargs="+", default=EPOCHS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mace", type=Path, help="python of an environment with mace-torch")
    parser.add_argument("--mace-dtype", default="float64", help="its default is float64")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for element in given.elements:
        facet = train_facet(element, given.out, given.threads)
        rows.append({"element": element, "code": "facet", **facet})
        if given.mace:
            time = float(facet["minutes"])
            mace = train_mace(element, given.out, given.mace, time, given.threads, given.mace_dtype)
            rows.append({"element": element, "code": "mace-torch", **mace})
    (given.out / "mlearn.json").write_text(json.dumps(rows, indent=2))
    print(table(rows))


if __name__ == "__main__":
    main()
