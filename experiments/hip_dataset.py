"""Make the training and test set of `hip-gfn2-chno`, from seeds; what was stopped goes on.

    pip install --no-deps qm9pack==1.0.3
    python hip_dataset.py OUT [--molecules 260] [--small 220] [--many 2400] [--paths 400]

Molecules of QM9 with up to nine heavy atoms (`qm9`) and up to five (`small`), with geometries
around minima and at the top of reaction paths (`OUT/SET/train.extxyz` and `held-out.extxyz`, which
share no scaffold; the latter to look at while developing); many more of up to seven heavy atoms, of
the scaffolds to learn from alone, with three geometries (`many`) or at the tops of two paths
(`paths`), and more of up to nine with all kinds (`large`) or at the tops of two paths (`ridges`);
further molecules of up to nine heavy atoms and of the held-out scaffolds, with all kinds of
geometries, to be looked at once, at the end (`test`); relaxed molecules of those scaffolds for
`rfo.py` (`OUT/relaxed`); then GFN2-xTB Hessians of all but these (`OUT/SET/hessians/PART`), those
to learn from only where the orbitals' gap is at least 0.5 eV: below, two states cross, and the
curvature of the closed shell is that of electrons smeared over both, down to -300 eV/Å². Entries
whose index is 7 modulo 25 are left out, and so are the formulas of the reactions that `ts.py` looks
at. Shards (`--shard 1/2`) share one folder, after the molecules have been made (`--stages molecules
many paths large ridges relax test`).
"""

from __future__ import annotations

import argparse
import csv
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from subprocess import CalledProcessError

import yaml
from common import matkit
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula
from reactions import REACTIONS

from matkit.builders.options import MoleculesOptions
from matkit.builders.smiles import choose, part_of

Kinds = dict[str, object]
PARTS = ("train", "held-out")
KINDS = {"temperatures": [], "rattle": [0.05, 0.12], "torsions": 1, "stretches": 1, "paths": 1}
MOLECULES = KINDS | {"leave_out": "7/25", "held_out": 0.1}
HEAVY = {"small": 5, "many": 7, "paths": 7}  # the others: nine
NOTHING = {"temperatures": [], "rattle": [], "torsions": 0, "stretches": 0, "paths": 0}
FEW = NOTHING | {"rattle": [0.1], "stretches": 1}
RIDGES = NOTHING | {"rattle": [0.12], "paths": 2}
TRAIN = ("small", "paths", "many", "qm9", "large", "ridges")
MIN_GAP = 0.5  # eV, 19 kT of the smearing of electrons


def formula(smiles: str) -> str:
    """Return the molecular formula."""
    return CalcMolFormula(Chem.MolFromSmiles(smiles))


def write_smiles(out: Path) -> Path:
    """Write the SMILES of QM9 but those of the reactions; return the file."""
    path = out / "qm9.csv"
    if path.exists():
        return path
    found = find_spec("qm9pack")
    if found is None or found.origin is None:
        raise SystemExit("QM9 comes from a package: pip install --no-deps qm9pack==1.0.3")
    csv.field_size_limit(1 << 24)
    forbidden = {formula(reaction.smiles) for reaction in REACTIONS.values()}
    rows = []
    for part in sorted((Path(found.origin).parent / "data").glob("qm9_part*.csv")):
        with part.open(encoding="utf-8") as file:
            rows += [(row["Index"], row["SMILES"]) for row in csv.DictReader(file)]
    known = (row for row in rows if Chem.MolFromSmiles(row[1]) is not None)
    kept = [row for row in known if formula(row[1]) not in forbidden]
    out.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("Index", "SMILES"), *kept])
    return path


def command(*arguments: object) -> None:
    """Run a command of matkit on one thread; failures of single structures are in its ledger."""
    try:
        matkit(*arguments, threads=1)
    except CalledProcessError as error:
        if error.returncode != 1:
            raise


def make_molecules(out: Path, given: argparse.Namespace) -> None:
    """Make the geometries of both sets."""
    source = write_smiles(out)
    for name, count in (("small", given.small), ("qm9", given.molecules)):
        config = out / f"{name}.yaml"
        options = MOLECULES | {"max_heavy": HEAVY.get(name, 9), "count": count}
        config.write_text(yaml.safe_dump(options))
        where = source, out / name
        command("data", "molecules", *where, "--config", config, "--workers", given.workers)


def make_many(out: Path, given: argparse.Namespace) -> None:
    """Make few geometries of many small molecules."""
    make_part(out, "many", "train", range(given.many), FEW, given.workers)


def make_paths(out: Path, given: argparse.Namespace) -> None:
    """Make tops of reaction paths of further small molecules."""
    further = range(given.many, given.many + given.paths)
    make_part(out, "paths", "train", further, NOTHING | {"paths": 2}, given.workers)


def make_large(out: Path, given: argparse.Namespace) -> None:
    """Make geometries of molecules beyond those of `qm9`."""
    further = range(given.molecules, given.molecules + given.large)
    make_part(out, "large", "train", further, KINDS, given.workers)


def make_ridges(out: Path, given: argparse.Namespace) -> None:
    """Make tops of reaction paths of still further ones, where errors are largest."""
    first = given.molecules + given.large
    make_part(out, "ridges", "train", range(first, first + given.ridges), RIDGES, given.workers)


def relax(out: Path, given: argparse.Namespace) -> None:
    """Relax molecules of the scaffolds that are held out; they are in no training set."""
    make_part(out, "relaxed", "held-out", range(given.relaxed), NOTHING, given.workers)


def make_test(out: Path, given: argparse.Namespace) -> None:
    """Make geometries of held-out molecules beyond those of `qm9` and the relaxed ones."""
    first = max(given.molecules, given.relaxed)
    make_part(out, "test", "held-out", range(first, first + given.test), KINDS, given.workers)


def make_part(out: Path, name: str, part: str, places: range, kinds: Kinds, workers: int) -> None:
    """Make geometries of the molecules at some places of one part; all are in its train."""
    heavy = HEAVY.get(name, 9)
    options = MoleculesOptions(struct=[str(write_smiles(out))], max_heavy=heavy, **MOLECULES)
    found = (e for e, _, core in choose(options) if part_of(core, options) == part)
    rows = [(entry.index, entry.smiles) for entry in islice(found, places.start, places.stop)]
    source, config = out / f"{name}.csv", out / f"{name}.yaml"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("Index", "SMILES"), *rows])
    config.write_text(yaml.safe_dump(kinds | {"held_out": 0.0, "max_heavy": heavy}))
    command("data", "molecules", source, out / name, "--config", config, "--workers", workers)


def label(out: Path, given: argparse.Namespace) -> None:
    """Label the sets, those to be tested on and the small molecules first."""
    how = ["--calculator", "gfn2", "--calculator-options", "{accuracy: 0.01}"]
    how += ["--hessian", "finite-difference", "--workers", given.workers]
    how += ["--shard", given.shard] if given.shard else []
    tests = [("test", "train"), ("small", "held-out"), ("qm9", "held-out")]
    for name, part in [*tests, *((name, "train") for name in TRAIN)]:
        folder = out / name / "hessians" / part
        gap = ["--min-gap", MIN_GAP] if name in TRAIN and part == "train" else []
        command("label", out / name / f"{part}.extxyz", folder, *how, *gap)


STAGES = {
    "molecules": make_molecules,
    "many": make_many,
    "paths": make_paths,
    "large": make_large,
    "ridges": make_ridges,
    "relax": relax,
    "test": make_test,
    "label": label,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--molecules", type=int, default=260, help="of up to nine heavy atoms")
    parser.add_argument("--small", type=int, default=220, help="of up to five heavy atoms")
    parser.add_argument("--many", type=int, default=2400, help="of up to seven heavy atoms")
    parser.add_argument("--paths", type=int, default=400, help="of up to seven, for paths alone")
    parser.add_argument("--large", type=int, default=300, help="further ones of up to nine")
    parser.add_argument("--ridges", type=int, default=450, help="still further ones, for paths")
    parser.add_argument("--relaxed", type=int, default=105, help="held-out molecules to relax")
    parser.add_argument("--test", type=int, default=45, help="held-out molecules to test on")
    parser.add_argument("--stages", nargs="+", default=[*STAGES], choices=[*STAGES])
    parser.add_argument("--shard", help="i/n: label that part of the structures only")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    for stage in given.stages:
        STAGES[stage](given.out, given)


if __name__ == "__main__":
    main()
