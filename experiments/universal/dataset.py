"""Make the training set of the universal potential, from seeds; what was stopped goes on.

    python -m universal.dataset OUT [--crystals 20000] [--responses 12000] [--stages crystals ...]

crystals: real DFT frames by part (`OUT/dft`), and crystals of formulas that are in no test set, by
part and kind of perturbation (`OUT/crystals`). perturb: perturbed structures (`OUT/structures`).
label: labels by SevenNet-l3i5 where SevenNet-0 agrees (`OUT/labels/PART/labels.extxyz`).
short: pairs of atoms nearer than that, with the forces of screened nuclei (`OUT/short.extxyz`).
hydrogen: the bond of H2 by SevenNet-l3i5, with which SevenNet-0 does not agree (`OUT/labels`).
varied: large crystals with elements replaced, relaxed a few steps by the potential that ships,
perturbed and labelled (`OUT/labels/varied`). responses: pairs of structures a small step to both
sides of crystals, simple ones first, by SevenNet-l3i5 (`OUT/labels/train_responses`). surroundings:
molecules on surfaces, atoms between lattice sites, molecules packed as in crystals and liquids, and
molten crystals, of formulas of two parts and of molecules divided likewise
(`OUT/labels/PART_surroundings`); only if it is named. join: all
that is learnt from (`OUT/train.extxyz`), without structures that replacing an element gave the
formula of a test set. rehearse: those of them on which the potential that ships is worse than the
one it was trained further from, all DFT frames, and some of the rest (`OUT/rehearsed.extxyz`).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from subprocess import CalledProcessError
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.io import read, write
from common import matkit, save, table

from matkit.builders.crystals import supercell
from matkit.data.groups import reduced_formula
from universal.crystals import (
    FAMILIES,
    SEED,
    TEACHER_PARTS,
    candidates,
    formulas,
    molecules,
    ordinary_frames,
    part_of,
    tested_formulas,
    write_dft,
)
from universal.damaged import by_family, damaged, force_errors, forces_of
from universal.short import short_dimers
from universal.surroundings import KINDS, surroundings
from universal.varied import LEAST_ATOMS, variants, write_relaxed

SMALLEST, LARGEST = 8, 24  # atoms of a cell that get more structures, and fewer
NOTHING = {"rattle": [], "volume": [], "shear": [], "vacancies": 0, "substitutions": 0}
NOTHING |= {"surfaces": 0, "isolated": False, "dimer_points": 0}
# What is made of a crystal, in turn; few structures each, so that many crystals are seen. One in
# a hundred is left to the potential that ships, which so visits what it would get wrong.
PROFILES: dict[str, dict[str, Any]] = {
    "near": {"rattle": [0.02, 0.1], "volume": [-0.05]},
    "strained": {"rattle": [0.05], "volume": [-0.13, 0.05, 0.2], "shear": [0.05]},
    "far": {"rattle": [0.2, 0.35], "shear": [0.1]},
    "other": {"substitutions": 2, "vacancies": 1},
    # Slabs take longest to make, and the bulk is what most people compute.
    "slab": {"rattle": [0.01, 0.5], "surfaces": 1},
    # Elements and binary compounds of few atoms cost little, and have all volumes taught.
    "simple": {"rattle": [0.05, 0.2], "volume": [-0.12, -0.04, 0.04, 0.12], "shear": [0.05]},
    "large": {"rattle": [0.03, 0.12]},
    "molecule": {"rattle": [0.03, 0.06, 0.1, 0.15, 0.2, 0.3]},
    "hot": {"model": "facet-universal", "temperatures": [1000.0, 2000.0], "snapshots": 2}
    | {"md_steps": 60},
    "small": {"isolated": True, "dimers": ["H", "O", "Fe"], "dimer_points": 8},
}
TURNS = ("near", "strained", "near", "far", "near", "other", "near", "strained", "near", "slab")
# Of what is made of variants of large crystals, beside themselves.
VARIED = {"rattle": [0.05], "volume": [0.04]}
# Force constants of supercells and elastic constants of primitive cells, which cost little.
RESPONSES = {"response": [0.01, 0.01], "response_strain": [0.004, 0.004], "response_atoms": 24}
# Of surroundings: parents of each kind and part, and what is made of them. Packed molecules become
# liquids in dynamics, crystals of few atoms melt.
SURROUNDED = {"test": 80, "train": 800}
LIQUID = {"model": "facet-universal", "snapshots": 2, "md_steps": 100}
SURROUNDINGS: dict[str, dict[str, Any]] = {kind: {"rattle": [0.05, 0.15]} for kind in KINDS}
SURROUNDINGS["packed"] = {"rattle": [0.1], "temperatures": [400.0]} | LIQUID
SURROUNDINGS["molten"] = {"temperatures": [3000.0]} | LIQUID
MOLECULE_PARTS = {"test": 0.1}
TEACHER, SECOND = "sevennet-l3i5", "sevennet-0"
STUDENT = "nequip-universal"  # trained further from SECOND
REST = 0.25  # of the frames that were not damaged are rehearsed
RELATIVE = 0.1  # part of a force that the models may differ by, on top of the largest difference
HYDROGEN = (0.5, 5.0, 300)  # distances of H2 in Å, and how many


def write_crystals(out: Path, given: argparse.Namespace) -> None:
    """Write the crystals to be perturbed."""
    parts = write_dft(out / "dft")
    forbidden = kept_back(out)
    found = candidates(forbidden, given.max_atoms, given.crystals // 20)[: given.crystals]
    found += ordinary_frames(parts, given.max_atoms)
    chosen: dict[str, list[Atoms]] = {}
    taken = {formula: part_of(formula, TEACHER_PARTS) for formula in formulas(found)}
    taken |= {formula: part for formula, part in parts.items() if part == "train"}
    for number, (atoms, formula) in enumerate(zip(found, formulas(found), strict=True)):
        chosen.setdefault(f"{taken[formula]}-{kind_of(atoms, number)}", []).append(atoms)
    chosen["train-molecule"] = molecules()
    # With real frames, since some elements are in no crystal of the tables.
    learnt = [atoms for atoms in found if taken[atoms.info["group"]] == "train"]
    learnt += read(out / "dft" / "train.extxyz", ":")
    chosen["train-small"] = one_of_each(learnt)
    for name, crystals in chosen.items():
        save(out / "crystals" / f"{name}.extxyz", crystals)
    counts: dict[str, object] = {name: len(crystals) for name, crystals in chosen.items()}
    counts |= {"forbidden formulas": len(forbidden), "dft": Counter(parts.values())}
    (out / "crystals.json").write_text(json.dumps(counts, indent=2))


def kept_back(out: Path) -> set[str]:
    """Return the formulas of all test sets and of the DFT frames for validation."""
    paths = [out / "dft" / "valid.extxyz", *(out / "dft").glob("test-*.extxyz")]
    return tested_formulas().union(*(formulas(read(path, ":")) for path in paths))


def held_out(out: Path) -> set[str]:
    """Return all formulas that are not learnt from, those of the teacher's parts among them."""
    paths = [
        path for part in ("test", "valid") for path in (out / "crystals").glob(f"{part}-*.extxyz")
    ]
    return kept_back(out).union(*(formulas(read(path, ":")) for path in paths))


def kind_of(atoms: Atoms, number: int) -> str:
    """Return what is made of a crystal, which depends on its size."""
    if number % 100 == 99:
        return "hot"
    if len(atoms) <= SMALLEST and len({*atoms.numbers}) <= 2:
        return "simple"
    return "large" if len(atoms) > LARGEST else TURNS[number % len(TURNS)]


def one_of_each(crystals: Sequence[Atoms]) -> list[Atoms]:
    """Return crystals that have every element between them, of those that are given."""
    left, kept = {z for atoms in crystals for z in atoms.numbers.tolist()}, []
    for atoms in crystals:
        if {*atoms.numbers.tolist()} & left:
            left -= {*atoms.numbers.tolist()}
            kept.append(atoms)
    return kept


def command(*arguments: object) -> None:
    """Run a command of matkit, one thread for each of its workers."""
    try:
        matkit(*arguments, threads=1)
    except CalledProcessError as error:
        if error.returncode != 1:  # that is: some structures failed, as the ledger says
            raise


def perturb(out: Path, given: argparse.Namespace) -> None:
    """Make structures of every file of crystals."""
    for path in sorted((out / "crystals").glob("*.extxyz")):
        folder = out / "structures" / path.stem
        if (folder / "perturbed.json").exists():
            continue
        profile = NOTHING | PROFILES[path.stem.split("-")[1]] | {"seed": SEED}
        config = out / "crystals" / f"{path.stem}.yaml"
        config.write_text(yaml.safe_dump(profile | {"max_atoms": given.max_atoms}))
        arguments = ["--config", config, "--workers", given.workers]
        command("data", "perturb", path, folder, *arguments)


def label(out: Path, given: argparse.Namespace) -> None:
    """Label the structures of every part."""
    for part in ("test", "valid", "train"):
        folders = sorted((out / "structures").glob(f"{part}-*"))
        limits = ["--max-difference", given.max_difference, "--max-force", given.max_force]
        where = [*(folder / "perturbed.extxyz" for folder in folders), out / "labels" / part]
        models = ["--calculator", TEACHER, "--agree", SECOND]
        workers = ["--workers", given.workers, "--batch-atoms", given.batch_atoms]
        command("label", *where, *models, *limits, *workers)
    rows = [row for part in ("test", "train") for row in kept(out, part)]
    (out / "kept.json").write_text(json.dumps(rows, indent=2))
    print(table(rows))


def kept(out: Path, part: str) -> list[dict[str, object]]:
    """Return how many structures of each kind got labels, and how far the models differ."""
    ledger = [json.loads(line) for line in (out / "labels" / part / "labels.jsonl").open()]
    kinds: dict[str, object] = {}
    for folder in sorted((out / "structures").glob(f"{part}-*")):
        path = folder / "perturbed.extxyz"
        kinds |= {f"{path}[{i}]": a.info["config_type"] for i, a in enumerate(read(path, ":"))}
    rows = []
    for kind in sorted({*kinds.values()}):
        found = [row for row in ledger if kinds.get(row["source"]) == kind]
        differences = [row["difference"] for row in found if "difference" in row]
        rows.append(
            {
                "part": part,
                "kind": kind,
                "structures": len(found),
                "kept": sum(row["status"] == "done" for row in found) / max(1, len(found)),
                "median difference eV/Å": median(differences) if differences else None,
            }
        )
    return rows


def write_short(out: Path, given: argparse.Namespace) -> None:
    """Write pairs of atoms that are nearer than all labels, of every element learnt from."""
    crystals = read(out / "crystals" / "train-small.extxyz", ":")
    elements = sorted({z for atoms in crystals for z in atoms.numbers.tolist()})
    save(out / "short.extxyz", [*short_dimers(elements)])


def label_hydrogen(out: Path, given: argparse.Namespace) -> None:
    """Label the molecule of hydrogen at distances nearer and farther than its bond."""
    made = [Atoms("H2", [(0, 0, 0), (0, 0, r)]) for r in np.linspace(*HYDROGEN)]
    for atoms in made:
        atoms.info = {"config_type": "hydrogen", "group": "H2"}
    path = save(out / "structures" / "hydrogen.extxyz", made)
    command("label", path, out / "labels" / "hydrogen", "--calculator", TEACHER)


def label_varied(out: Path, given: argparse.Namespace) -> None:
    """Make variants of the large crystals, perturb them and label them."""
    files = sorted((out / "crystals").glob("train-*.extxyz"))
    files = [path for path in files if path.stem not in ("train-molecule", "train-small")]
    crystals = [a for path in files for a in read(path, ":") if len(a) >= LEAST_ATOMS]
    made = list(variants(crystals, held_out(out), SEED))
    shards = write_relaxed(out / "crystals" / "varied", made, given.workers)
    folder = out / "structures" / "varied"
    config = out / "crystals" / "varied.yaml"
    config.write_text(yaml.safe_dump(NOTHING | VARIED | {"max_atoms": given.max_atoms}))
    arguments = ["--config", config, "--seed", SEED, "--workers", given.workers]
    command("data", "perturb", *shards, folder, *arguments)
    limits = ["--max-difference", given.max_difference, "--max-force", given.max_force]
    models = ["--calculator", TEACHER, "--agree", SECOND, "--relative-difference", RELATIVE]
    workers = ["--workers", given.workers, "--batch-atoms", given.batch_atoms]
    where = [folder / "perturbed.extxyz", out / "labels" / "varied"]
    command("label", *where, *models, *limits, *workers)


def label_responses(out: Path, given: argparse.Namespace) -> None:
    """Make and label pairs of structures that show second derivatives."""
    found = candidates(kept_back(out), LARGEST, given.responses // 20)
    simple = [kind_of(atoms, 0) == "simple" for atoms in found]
    found = [found[i] for i in np.argsort(np.logical_not(simple), kind="stable")]
    learnt = {*formulas(read(out / "dft" / "train.extxyz", ":"))}
    parts = [part_of(atoms.info["group"], TEACHER_PARTS) for atoms in found]
    for part, count in (("train", given.responses), ("valid", given.responses // 80)):
        crystals = [a for a, which in zip(found, parts, strict=True) if which == part]
        if part == "valid":
            crystals = [a for a in crystals if a.info["group"] not in learnt]
        path = save(out / "crystals" / "responses" / f"{part}.extxyz", crystals[:count])
        config = path.with_suffix(".yaml")
        config.write_text(yaml.safe_dump(NOTHING | RESPONSES | {"max_atoms": given.max_atoms}))
        folder = out / "structures" / f"{part}_responses"
        workers = ["--workers", given.workers]
        command("data", "perturb", path, folder, "--config", config, "--seed", SEED, *workers)
        where = [folder / "perturbed.extxyz", out / "labels" / f"{part}_responses"]
        limits = ["--max-force", given.max_force, "--batch-atoms", given.batch_atoms]
        command("label", *where, "--calculator", TEACHER, *limits, *workers)


def label_surroundings(out: Path, given: argparse.Namespace) -> None:
    """Make structures with surroundings that no crystal has, and label them."""
    forbidden, small = kept_back(out), [*candidates(kept_back(out), SMALLEST, 0)]
    by_crystal = [part_of(atoms.info["group"], TEACHER_PARTS) for atoms in small]
    by_molecule = [part_of(atoms.info["group"], MOLECULE_PARTS) for atoms in molecules()]
    for part, count in SURROUNDED.items():
        crystals = [a for a, which in zip(small, by_crystal, strict=True) if which == part]
        gas = [a for a, which in zip(molecules(), by_molecule, strict=True) if which == part]
        made = {
            kind: [*surroundings(kind, crystals, gas, count, given.max_atoms, forbidden, SEED)]
            for kind in KINDS
        }
        made["molten"] = [supercell(a, 2 * SMALLEST, given.max_atoms) for a in crystals[:count]]
        folders = []
        for kind, structures in made.items():
            path = save(out / "crystals" / "surroundings" / f"{part}-{kind}.extxyz", structures)
            config = path.with_suffix(".yaml")
            config.write_text(
                yaml.safe_dump(NOTHING | SURROUNDINGS[kind] | {"max_atoms": given.max_atoms})
            )
            folders.append(out / "structures" / "surroundings" / path.stem)
            how = ["--config", config, "--seed", SEED, "--workers", given.workers]
            command("data", "perturb", path, folders[-1], *how)
        limits = ["--max-difference", given.max_difference, "--max-force", given.max_force]
        models = ["--calculator", TEACHER, "--agree", SECOND, "--relative-difference", RELATIVE]
        workers = ["--workers", given.workers, "--batch-atoms", given.batch_atoms]
        where = [folder / "perturbed.extxyz" for folder in folders]
        command(
            "label", *where, out / "labels" / f"{part}_surroundings", *models, *limits, *workers
        )


def became(atoms: Atoms, formulas: set[str]) -> bool:
    """Return whether a structure has one of the formulas since an element was replaced."""
    return atoms.info["config_type"] == "substituted" and reduced_formula(atoms.numbers) in formulas


def join(out: Path, given: argparse.Namespace) -> None:
    """Write all that is learnt from to one file."""
    forbidden = held_out(out)
    paths = [out / "labels" / name / "labels.extxyz" for name in ("train", "varied", "hydrogen")]
    counts: dict[str, int] = {}
    with (out / "train.part").open("w") as file:
        for path in [*paths, out / "dft" / "train.extxyz", out / "short.extxyz"]:
            found = read(path, ":")
            learnt = [a for a in found if not became(a, forbidden)]
            write(file, learnt, format="extxyz")
            name = path.relative_to(out).as_posix()
            counts |= {name: len(learnt), f"{name}, left out": len(found) - len(learnt)}
    (out / "train.part").replace(out / "train.extxyz")
    (out / "train.json").write_text(json.dumps(counts, indent=2))


def write_rehearsed(out: Path, given: argparse.Namespace) -> None:
    """Write what a second stage learns from once more, and what was damaged of each kind."""
    frames = [a for a in read(out / "train.extxyz", ":") if "REF_forces" in a.arrays]
    student, parent = (force_errors(frames, forces_of(m, frames)) for m in (STUDENT, SECOND))
    always = np.array([a.info["config_type"] in (*FAMILIES, "hydrogen", "short") for a in frames])
    some = np.random.default_rng(SEED).random(len(frames)) < REST
    chosen = damaged(student, parent) | always | some
    save(out / "rehearsed.extxyz", [frames[i] for i in np.flatnonzero(chosen)])
    rows = by_family(frames, student, parent)
    (out / "rehearsed.json").write_text(json.dumps(rows, indent=2))
    print(table(rows))


STAGES = {"crystals": write_crystals, "perturb": perturb, "label": label, "short": write_short}
STAGES |= {"hydrogen": label_hydrogen, "varied": label_varied, "responses": label_responses}
STAGES |= {"surroundings": label_surroundings, "join": join, "rehearse": write_rehearsed}
ON_DEMAND = ("surroundings",)  # to test on; nothing that ships has learnt from them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    usual = [name for name in STAGES if name not in ON_DEMAND]
    parser.add_argument("--stages", nargs="+", default=usual, choices=[*STAGES])
    parser.add_argument("--crystals", type=int, default=20000)
    parser.add_argument("--max-atoms", type=int, default=52)
    parser.add_argument("--responses", type=int, default=12000, help="crystals with pairs")
    parser.add_argument("--max-difference", type=float, default=0.5, help="eV/Å, of any atom")
    parser.add_argument("--max-force", type=float, default=30.0, help="eV/Å")
    parser.add_argument("--batch-atoms", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    free = ("out", "stages", "workers", "batch_atoms")
    settings = json.dumps({name: value for name, value in vars(given).items() if name not in free})
    for stage in given.stages:
        done = given.out / f"{stage}.done"
        if not done.exists():
            STAGES[stage](given.out, given)
            done.write_text(settings)
        elif done.read_text() != settings:
            before = f"{given.out} was made with {done.read_text()}, not with {settings}"
            raise SystemExit(f"{before}. Repeat those settings, or take another folder.")


if __name__ == "__main__":
    main()
