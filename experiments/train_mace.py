"""Train mace-torch on one file with its own defaults for a given time and print its test errors.

Run it in an environment with mace-torch, which cannot share one with e3nn 0.6:
``python experiments/train_mace.py TRAIN TEST --minutes 30 --out FOLDER``.
Other options go to ``mace_run_train``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write


def labelled(source: str, target: Path) -> list[Atoms]:
    """Copy a file, with labels under the names that MACE looks for."""
    frames = read(source, ":")
    for atoms in frames:
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.set_array("REF_forces", atoms.get_forces())
    bare = [atoms.copy() for atoms in frames]
    write(target, bare, format="extxyz")
    return frames


def train(folder: Path, minutes: float, threads: int, extra: list[str]) -> tuple[Path, float]:
    """Train until the time is up, then let MACE write its best epoch as a model.

    It has nothing to write before its first epoch is complete: that one is waited for.
    """
    command = [
        *(sys.executable, "-m", "mace.cli.run_train", "--name=mace", f"--work_dir={folder}"),
        *(f"--train_file={folder / 'train.xyz'}", "--valid_fraction=0.05", "--E0s=average"),
        *("--device=cpu", "--seed=0", *extra),
    ]
    environment = {"OMP_NUM_THREADS": str(threads), "PATH": "/usr/bin:/bin"}
    begin = time.perf_counter()
    with (folder / "mace.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--max_num_epochs=100000"], stdout=log, stderr=log, env=environment
        )
        while time.perf_counter() - begin < 60 * minutes or not epochs(folder):
            if process.poll() is not None:
                raise SystemExit(f"mace-torch ended early; see {folder / 'mace.log'}")
            time.sleep(1)
        spent = time.perf_counter() - begin
        process.kill()
        written = ["--max_num_epochs=0", "--restart_latest", "--skip_evaluate_heads=Default"]
        finish = [*command, *written]
        subprocess.run(finish, stdout=log, stderr=log, env=environment, check=True)
    models = sorted(folder.glob("**/mace*.model"))
    return next(path for path in models if "compiled" not in path.name), spent


def errors(model: Path, frames: list[Atoms]) -> dict[str, float]:
    """Return energy errors in meV/atom and force errors in eV/Å."""
    from mace.calculators import MACECalculator

    calculator = MACECalculator(model_paths=str(model), device="cpu")
    energy, forces = [], []
    for reference in frames:
        atoms = reference.copy()
        atoms.calc = calculator
        difference = atoms.get_potential_energy() - reference.get_potential_energy()
        energy.append(difference / len(atoms))
        forces.append((atoms.get_forces() - reference.get_forces()).ravel())
    f = np.concatenate(forces)
    return {
        "energy_mae_mev": 1e3 * float(np.abs(energy).mean()),
        "forces_mae": float(np.abs(f).mean()),
        "forces_rmse": float(np.sqrt((f**2).mean())),
    }


def epochs(folder: Path) -> int:
    """Return how many epochs were completed."""
    import re

    text = (folder / "mace.log").read_text(errors="replace")
    return max([int(n) + 1 for n in re.findall(r"Epoch (\d+):", text)], default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    given, extra = parser.parse_known_args()
    given.out.mkdir(parents=True, exist_ok=True)
    labelled(given.train, given.out / "train.xyz")
    test = labelled(given.test, given.out / "test.xyz")
    model, spent = train(given.out, given.minutes, given.threads, extra)
    found = {"minutes": spent / 60, "epochs": epochs(given.out), **errors(model, test)}
    (given.out / "errors.json").write_text(json.dumps(found, indent=2))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
