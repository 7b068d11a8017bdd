"""Predicted Hessians beside exact second derivatives of a network that never saw one.

    python experiments/hessians.py MODEL FOLDER... [--backbone MODEL2] --out OUT [--workers W]

MODEL has a Hessian head; MODEL2 is the same network trained on energies and forces alone, and
`--longer` the same after further epochs of that. All are differentiated twice too. Folders were
written by `matkit label --hessian` for molecules that none has seen; `--limit` is for each. Errors
are given by kind of geometry, their `config_type` as far as a hyphen, for all kinds but the
relaxed, and for all. With `--min-gap`, structures whose orbitals have a smaller gap in GFN2-xTB are
kind `crossing` instead: two states cross there, the closed shell is none of them, and curvatures
are those of the smearing of electrons between them. Frequencies, zero-point energies and the lowest
mode are those of mass-weighted Hessians without rigid motions (3N - 6).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from common import table

from matkit import load_calculator
from matkit.hessians.modes import NormalModes, normal_modes
from matkit.label import HessianSet, read_hessians
from matkit.label.calculator_engine import xtb_engine
from matkit.label.labels import Labels
from matkit.report.json_files import json_bytes, plain

Row = dict[str, float]
Source = Callable[[Atoms], np.ndarray]


def structures(found: HessianSet) -> list[Atoms]:
    """Return the structures of a set, with their kind as `config_type` and their charge."""
    parts, kinds = found.dataset.structures.split(), found.dataset.config_types
    made = []
    for part, kind in zip(parts, kinds, strict=True):
        info: dict[str, object] = {"config_type": kind}
        info |= {"charge": float(part.system["charge"])} if "charge" in part.system else {}
        made.append(Atoms(part.species.numpy(), part.positions.numpy(), info=info))
    return made


def weighted(atoms: Atoms, modes: NormalModes) -> np.ndarray:
    """Return the lowest mode [3N] in mass-weighted coordinates, of length 1."""
    vector = (modes.vectors[0] * np.sqrt(atoms.get_masses())[:, None]).ravel()
    return vector / np.linalg.norm(vector)


def compare(atoms: Atoms, true: np.ndarray, found: np.ndarray) -> Row:
    """Return errors of one Hessian [3N, 3N], eV/Å², and of what follows from it."""
    ours, theirs = normal_modes(atoms, found), normal_modes(atoms, true)
    values, exact = np.linalg.eigvalsh(found), np.linalg.eigvalsh(true)
    overlap = weighted(atoms, ours) @ weighted(atoms, theirs)
    return {
        "entries": true.size,
        "hessian": float(np.abs(found - true).sum()),
        "eigenvalues": float(np.abs(values - exact).sum()),
        "modes": len(ours.frequencies),
        "frequencies": float(np.abs(ours.frequencies - theirs.frequencies).sum()),
        "cosine": float(abs(overlap)),
        "zpe": abs(ours.zero_point_energy - theirs.zero_point_energy),
        "index": len(ours.imaginary),
        "true_index": len(theirs.imaginary),
    }


def ratio(part: float, whole: float) -> float:
    """Return a quotient, not a number if there is nothing to divide by."""
    return part / whole if whole else float("nan")


def summary(rows: Sequence[Row]) -> dict[str, object]:
    """Return the mean errors of some structures."""
    column = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    index, true = column["index"], column["true_index"]
    both = int(((index == 1) & (true == 1)).sum())
    return {
        "structures": len(rows),
        "hessian_mae_ev_a2": column["hessian"].sum() / column["entries"].sum(),
        "eigenvalue_mae_ev_a2": column["eigenvalues"].sum() / np.sqrt(column["entries"]).sum(),
        "lowest_mode_cosine": column["cosine"].mean(),
        "frequency_mae_cm": column["frequencies"].sum() / column["modes"].sum(),
        "zpe_mae_ev": column["zpe"].mean(),
        "index_accuracy": float((index == true).mean()),
        "index_1_precision": ratio(both, int((index == 1).sum())),
        "index_1_recall": ratio(both, int((true == 1).sum())),
    }


@cache
def sources(model: str, backbone: str | None, longer: str | None) -> dict[str, Source]:
    """Return what makes Hessians, by name."""
    torch.set_num_threads(1)
    predict = load_calculator(model, dtype="float64")
    differentiated = {"the same model": model}
    differentiated |= {"the backbone": backbone} if backbone else {}
    differentiated |= {"the backbone trained longer": longer} if longer else {}
    made: dict[str, Source] = {"predicted": partial(predict.get_hessian, method="predict")}
    for name, file in differentiated.items():
        calculator = load_calculator(file, dtype="float64")
        made[f"autograd of {name}"] = partial(calculator.get_hessian, method="autograd")
    return made


def measure(
    models: tuple[str, str | None, str | None], atoms: Atoms, exact: np.ndarray
) -> dict[str, Row]:
    """Return the errors of one structure, by what made the Hessian."""
    return {name: compare(atoms, exact, source(atoms)) for name, source in sources(*models).items()}


def kind_of(atoms: Atoms, min_gap: float) -> str:
    """Return the kind of a geometry, `crossing` if the gap of its orbitals is smaller, in eV."""
    kind = str(atoms.info["config_type"]).split("-")[0]
    if min_gap == 0:
        return kind
    (found,) = xtb_engine("gfn2", {}).labels([atoms])
    if not isinstance(found, Labels) or found.gap is None:
        raise SystemExit(f"{atoms.symbols}: {found}")
    return "crossing" if found.gap < min_gap else kind


def groups(kinds: Sequence[str]) -> dict[str, np.ndarray]:
    """Return which structures belong to each group of geometries."""
    short = np.array(kinds)
    found = {str(kind): short == kind for kind in np.unique(short)}
    relaxed, crossing = short == "relaxed", short == "crossing"
    found |= {"all but crossing": ~crossing} if crossing.any() else {}
    return found | {"all but relaxed": ~relaxed, "all": np.full(len(short), True)}


def main() -> None:
    """Measure, and write a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--backbone", help="the same network trained without Hessians")
    parser.add_argument("--longer", help="the backbone after further epochs without Hessians")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="take about so many structures, evenly spread")
    parser.add_argument("--min-gap", type=float, default=0.0, help="gap of GFN2 orbitals, eV")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    given = parser.parse_args()
    molecules: list[Atoms] = []
    exact: list[np.ndarray] = []
    for found in map(read_hessians, given.folders):
        every = structures(found)
        chosen = range(0, len(every), max(1, len(every) // (given.limit or len(every))))
        molecules += [every[i] for i in chosen]
        exact += [found.hessian(i).numpy() for i in chosen]
    masks = groups([kind_of(atoms, given.min_gap) for atoms in molecules])
    with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        work = partial(measure, (given.model, given.backbone, given.longer))
        every_row = []
        for row in pool.map(work, molecules, exact):
            every_row.append(row)
            print(f"\r{len(every_row)}/{len(molecules)}", end="", file=sys.stderr, flush=True)
    lines: list[dict[str, object]] = []
    for name in every_row[0]:
        for kind, mask in masks.items():
            part = [every_row[i][name] for i in np.flatnonzero(mask)]
            lines += [{"hessian": name, "geometry": kind, **summary(part)}] if part else []
    given.out.mkdir(parents=True, exist_ok=True)
    record = {name: getattr(given, name) for name in ("model", "backbone", "longer", "folders")}
    record |= {"min_gap": given.min_gap}
    (given.out / "hessians.json").write_bytes(json_bytes(plain(record | {"rows": lines})))
    (given.out / "hessians.md").write_text(table(lines) + "\n")
    print(table(lines))


if __name__ == "__main__":
    main()
