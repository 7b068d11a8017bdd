"""Make the data of an organic potential of twelve elements at the level of GFN2-xTB, from seeds.

    python organic_dataset.py OUT [--molecules 3000] [--ions 2000] [--dimers 6000] [--rings 1500]

Molecules of ZINC's validation file (`MATKIT_DATA`) and parts of them, with up to `--heavy` heavy
atoms; some have an atom replaced by boron, silicon, phosphorus, sulphur or a halogen where the
valence allows it, and some an acid without its proton or an amine with one more, so that there are
H, B, C, N, O, F, Si, P, S, Cl, Br and I, and charges of -1 and 1. They are relaxed, displaced,
turned and stretched; a tenth of the scaffolds is kept from training (`OUT/molecules`, `OUT/ions`).
Pairs of relaxed molecules at contact and farther, most of them relaxed a few steps by GFN2-xTB, so
that they form hydrogen bonds, each followed by the same two apart (`OUT/dimers`), of the scaffolds
of each part; and pairs with two hydrogen bonds in a ring, as of acids and amides, which hardly come
about by chance (`OUT/rings`); half of both again, pushed together (`OUT/nearer`). None has the
formula of a complex of S22. Labels by GFN2-xTB (`OUT/labels/SET-PART`), without molecules whose
orbitals nearly cross. To be tested on: the 22 complexes of S22 at five distances with their
molecules alone (`OUT/labels/s22`), and Hessians of relaxed molecules and ions of held-out scaffolds
(`OUT/labels/hessians`). What was stopped goes on.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.calculator import CalculatorError
from ase.data import covalent_radii, vdw_radii
from ase.data.s22 import create_s22_system, get_number_of_dimer_atoms, s22
from ase.io import read
from ase.optimize import FIRE
from common import data, save
from hip_dataset import command
from scipy.spatial.transform import Rotation
from tblite.ase import TBLite

from matkit.builders.smiles import rdkit

Make = Callable[[Sequence[Atoms], np.random.Generator], tuple[Atoms, int, np.ndarray]]
ELEMENTS = ["H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I"]
# What may take the place of an atom with as many bonds.
REPLACEMENTS = {"C": ("Si", "Si", "B", "N"), "O": ("S",), "N": ("P", "B"), "Cl": ("Br", "I", "F")}
REPLACED = 0.5  # of the molecules
GEOMETRIES = {"rattle": [0.05, 0.12, 0.25], "temperatures": [], "torsions": 1, "stretches": 1}
MOLECULES = GEOMETRIES | {"paths": 0, "held_out": 0.1, "elements": ELEMENTS, "fmax": 0.05}
PROTONS = {
    "acid": ("[CX3](=O)[OX2H1]", "O", -1),
    "amine": ("[NX3;!$(N-[C,S,P,N]=*);!$(N-a)]", "N", 1),
}
CONTACTS = (0.8, 1.5)  # of the sum of van der Waals radii, of the nearest atoms of a dimer
STEPS = (0, 10, 20, 40)  # of the relaxation of a dimer, one of them
# Lengths of hydrogen bonds in rings, in Å, and by how much molecules are turned, in degrees.
BONDS, TILT = (1.5, 2.6), 12.0
BONDED = 1.25  # of the sum of covalent radii
CLASH = 0.5  # of the sum of van der Waals radii
APART = 30.0  # Å, at which molecules do not see each other
NEARER = (0.1, 0.6)  # Å, by which molecules are pushed together
SHARD = 250  # dimers of a file
SCALED = (0.9, 1.0, 1.2, 1.5, 2.0)  # distances of the centres of S22's molecules
MIN_GAP = 0.5  # eV
PARTS = ("train", "held-out")
SETS = ("molecules", "ions", "dimers", "rings", "nearer")
SEED = 11


def smiles_of_zinc() -> list[str]:
    """Return the SMILES of the file, without what comes after them."""
    with gzip.open(data("zinc_smiles", "valid.smi.gz"), "rt") as file:
        return [line.split()[0] for line in file if line.strip()]


def fragments(molecule: Any, every: bool = False) -> list[Any]:
    """Return what is left of a molecule where a single bond outside rings is cut.

    Args:
        molecule: To be cut.
        every: Cut each such bond in turn, not only the one in the middle.
    """
    chem = rdkit()
    bonds = [
        bond.GetIdx()
        for bond in molecule.GetBonds()
        if bond.GetBondTypeAsDouble() == 1 and not bond.IsInRing()
    ]
    if not bonds:
        return [molecule]
    chosen = bonds if every else bonds[len(bonds) // 2 : len(bonds) // 2 + 1]
    cut = [chem.FragmentOnBonds(molecule, [bond]) for bond in chosen]
    parts = [p for one in cut for p in chem.GetMolFrags(one, asMols=True, sanitizeFrags=False)]
    hydrogen = chem.MolFromSmiles("[H]")
    return [
        chem.RemoveHs(chem.ReplaceSubstructs(part, chem.MolFromSmarts("[#0]"), hydrogen, True)[0])
        for part in parts
    ]


def replaced(molecule: Any, rng: np.random.Generator) -> Any | None:
    """Return a molecule with one atom replaced, None if that makes none."""
    chem = rdkit()
    places = [a.GetIdx() for a in molecule.GetAtoms() if a.GetSymbol() in REPLACEMENTS]
    if not places:
        return None
    edited = chem.RWMol(molecule)
    atom = edited.GetAtomWithIdx(int(rng.choice(places)))
    atom.SetAtomicNum(chem.Atom(str(rng.choice(REPLACEMENTS[atom.GetSymbol()]))).GetAtomicNum())
    atom.SetNoImplicit(False)
    return checked(edited)


def ionised(molecule: Any, rng: np.random.Generator) -> Any | None:
    """Return a molecule with a proton less at an acid or more at an amine, None if it has none."""
    chem = rdkit()
    there = [
        (found, symbol, charge)
        for pattern, symbol, charge in PROTONS.values()
        if (found := molecule.GetSubstructMatches(chem.MolFromSmarts(pattern)))
    ]
    if not there:
        return None
    matches, symbol, charge = there[int(rng.integers(len(there)))]
    match = matches[int(rng.integers(len(matches)))]
    edited = chem.RWMol(molecule)
    place = [i for i in match if edited.GetAtomWithIdx(i).GetSymbol() == symbol][-1]
    edited.GetAtomWithIdx(place).SetFormalCharge(charge)
    return checked(edited)


def checked(molecule: Any) -> Any | None:
    """Return a molecule if its valences are possible."""
    chem = rdkit()
    try:
        chem.SanitizeMol(molecule)
    except (chem.AtomValenceException, chem.KekulizeException, chem.AtomKekulizeException):
        return None
    return molecule


def write_smiles(
    path: Path, change: Callable[..., Any | None] | None, part: float, every: bool = False
) -> Path:
    """Write molecules and parts of them, some of them changed; without `change` all as they are."""
    if path.exists():
        return path
    chem, rng = rdkit(), np.random.default_rng(SEED)
    found: dict[str, None] = {}
    for text in smiles_of_zinc():
        molecule = chem.MolFromSmiles(text)
        for one in [] if molecule is None else [molecule, *fragments(molecule, every)]:
            made = one
            if change is not None and rng.random() < part:
                made = change(one, rng)
            if made is not None:
                found[chem.MolToSmiles(made)] = None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(found) + "\n", encoding="utf-8")
    return path


def make_molecules(out: Path, given: argparse.Namespace) -> None:
    """Make geometries of neutral molecules and of ions."""
    sets = (
        ("molecules", write_smiles(out / "molecules.smi", replaced, REPLACED), [0]),
        ("ions", write_smiles(out / "ions.smi", ionised, 1.0, True), [-1, 1]),
    )
    for name, source, charges in sets:
        options = {"count": getattr(given, name), "max_heavy": given.heavy, "charges": charges}
        config = out / f"{name}.yaml"
        config.write_text(yaml.safe_dump(MOLECULES | options))
        command(
            "data", "molecules", source, out / name, "--config", config, "--workers", given.workers
        )


def make_dimers(out: Path, given: argparse.Namespace) -> None:
    """Make pairs of relaxed neutral molecules of each part."""
    for part in PARTS:
        frames = read(out / "molecules" / f"{part}.extxyz", ":")
        relaxed = [atoms for atoms in frames if atoms.info["config_type"] == "relaxed"]
        for name, make in (("dimers", dimer), ("rings", ring)):
            fit = [a for a in relaxed if make is not ring or donors_beside_acceptors(a)]
            # Of few molecules none may fit.
            count = getattr(given, name) // (1 if part == "train" else 10) if fit else 0
            shards = [
                (out / name / f"{part}-{number:02d}.extxyz", min(SHARD, count - first), number)
                for number, first in enumerate(range(0, count, SHARD))
            ]
            with ProcessPoolExecutor(given.workers) as pool:
                work = partial(write_dimers, make, fit)
                for path in pool.map(work, *zip(*shards, strict=True)):
                    print(path, flush=True)


def make_nearer(out: Path, given: argparse.Namespace) -> None:
    """Push the molecules of every second pair together."""
    for part in PARTS:
        paths = [path for name in ("dimers", "rings") for path in (out / name).glob(f"{part}*")]
        rng = np.random.default_rng(SEED)
        pairs = [pair for path in sorted(paths) for pair in pushed_together(read(path, ":"), rng)]
        save(out / "nearer" / f"{part}.extxyz", pairs)


def pushed_together(frames: Sequence[Atoms], rng: np.random.Generator) -> Iterator[Atoms]:
    """Give every second pair with its molecules nearer than they are, and the same ones apart.

    Args:
        frames: Pairs, each followed by the same two apart.
        rng: Where chance comes from.
    """
    for pair, apart in zip(frames[::4], frames[1::4], strict=True):
        shift = apart.positions - pair.positions
        second = np.linalg.norm(shift, axis=1) > 0
        direction = shift[second][0] / APART
        one, other = pair[~second], pair[second]
        radii = np.nan_to_num(np.add.outer(vdw_radii[one.numbers], vdw_radii[other.numbers]), nan=4)
        by = -rng.uniform(*NEARER) * direction
        if closest(one, other, by, radii) > CLASH:
            nearer = pair.copy()
            nearer.positions[second] += by
            yield nearer
            yield apart


def write_dimers(
    make: Make, molecules: Sequence[Atoms], path: Path, count: int, number: int
) -> Path:
    """Write one shard, unless it is there."""
    if not path.exists():
        made = [*dimers(make, molecules, count, number)]
        save(path.with_suffix(".part"), made).replace(path)
    return path


def dimers(make: Make, molecules: Sequence[Atoms], count: int, number: int) -> Iterator[Atoms]:
    """Give pairs of molecules, relaxed a few steps, and the same ones apart.

    Args:
        make: Puts two of the molecules beside each other.
        molecules: What pairs are made of.
        count: How many.
        number: That of the shard, whose pairs depend on it alone.
    """
    rng = np.random.default_rng([SEED, number])
    tested = {str(create_s22_system(name).symbols.formula.convert("hill")) for name in s22}
    made = 0
    while made < count:
        pair, first, direction = make(molecules, rng)
        if str(pair.symbols.formula.convert("hill")) in tested:
            continue
        pair.calc = TBLite(method="GFN2-xTB", verbosity=0)
        try:
            FIRE(pair, logfile=None, maxstep=0.1).run(fmax=0.05, steps=int(rng.choice(STEPS)))
        except (CalculatorError, RuntimeError) as error:
            print(f"{pair.symbols}: {error}", flush=True)
            continue
        made += 1
        group = f"{number}-{made} {pair.info['group']}"
        for distance in (0.0, APART):
            positions = pair.positions.copy()
            positions[first:] += distance * direction
            info = {"config_type": "interaction", "group": group}
            yield Atoms(pair.numbers, positions, info=info)


def dimer(molecules: Sequence[Atoms], rng: np.random.Generator) -> tuple[Atoms, int, np.ndarray]:
    """Return two molecules, turned at random, with their nearest atoms at contact or farther.

    Returns:
        The pair, the number of atoms of the first, and the direction to the second [3].
    """
    one, other = (molecules[int(i)].copy() for i in rng.integers(len(molecules), size=2))
    for atoms in (one, other):
        atoms.positions -= atoms.get_center_of_mass()
        atoms.euler_rotate(*rng.uniform(0, 360, 3))
    near = rng.uniform(*CONTACTS)
    radii = np.add.outer(vdw_radii[one.numbers], vdw_radii[other.numbers])
    radii = np.nan_to_num(radii, nan=4.0)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    distance = 0.0
    while closest(one, other, distance * direction, radii) < near:
        distance += 0.05
    other.positions += distance * direction
    pair = one + other
    pair.info = {"group": f"{one.info['group']} {other.info['group']}"}
    return pair, len(one), direction


def ring(molecules: Sequence[Atoms], rng: np.random.Generator) -> tuple[Atoms, int, np.ndarray]:
    """Return two molecules with two hydrogen bonds between them, about opposite to each other.

    Args:
        molecules: Those with donors beside acceptors.
        rng: Where chance comes from.

    Returns:
        The pair, the number of atoms of the first, and the direction to the second [3].
    """
    while True:
        one, other = (molecules[int(i)].copy() for i in rng.integers(len(molecules), size=2))
        (centre, axes), (its_centre, its_axes) = (_ring_axes(atoms, rng) for atoms in (one, other))
        # Half a turn about the axis that is normal to the ring, and a little more.
        turned = its_axes.T @ (axes * [[-1], [-1], [1]])
        tilt = Rotation.from_rotvec(np.radians(rng.normal(0, TILT, 3))).as_matrix()
        shift = centre + rng.uniform(*BONDS) * axes[1]
        other.positions = (other.positions - its_centre) @ turned @ tilt + shift
        radii = np.nan_to_num(np.add.outer(vdw_radii[one.numbers], vdw_radii[other.numbers]), nan=4)
        if closest(one, other, np.zeros(3), radii) > CLASH:
            pair = one + other
            pair.info = {"group": f"{one.info['group']} {other.info['group']}"}
            return pair, len(one), axes[1]


def _ring_axes(atoms: Atoms, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return where a ring would close [3]; rows: from donor to acceptor, outwards, and normal."""
    places = donors_beside_acceptors(atoms)
    hydrogen, acceptor, middle = atoms.positions[list(places[int(rng.integers(len(places)))])]
    along = (acceptor - hydrogen) / np.linalg.norm(acceptor - hydrogen)
    centre = (acceptor + hydrogen) / 2
    outwards = centre - middle - along * ((centre - middle) @ along)
    outwards /= np.linalg.norm(outwards)
    return centre, np.array([along, outwards, np.cross(along, outwards)])


def donors_beside_acceptors(atoms: Atoms) -> list[tuple[int, int, int]]:
    """Return hydrogens, acceptors on the same side, and the atoms between: H-N-C=O and alike."""
    distances = atoms.get_all_distances()
    radii = covalent_radii[atoms.numbers]
    bonded = (distances < BONDED * np.add.outer(radii, radii)) & ~np.eye(len(atoms), dtype=bool)
    polar = np.isin(atoms.numbers, (7, 8))
    found = []
    for hydrogen in np.flatnonzero(atoms.numbers == 1):
        for donor in np.flatnonzero(bonded[hydrogen] & polar):
            for middle in np.flatnonzero(bonded[donor] & (atoms.numbers > 1)):
                free = bonded[middle] & polar & (bonded.sum(axis=1) <= 2)
                free &= ~(bonded & (atoms.numbers == 1)).any(axis=1) & (distances[hydrogen] < 3.0)
                found += [(hydrogen, a, middle) for a in np.flatnonzero(free) if a != donor]
    return found


def closest(one: Atoms, other: Atoms, shift: np.ndarray, radii: np.ndarray) -> float:
    """Return the smallest distance between two molecules, as part of the sum of radii."""
    apart = one.positions[:, None] - (other.positions + shift)[None]
    return float((np.linalg.norm(apart, axis=2) / radii).min())


def s22_frames() -> Iterator[Atoms]:
    """Give the complexes of S22 at several distances, and their molecules alone."""
    for name in s22:
        complex_ = create_s22_system(name)
        first, _ = get_number_of_dimer_atoms(name)
        parts = complex_[:first], complex_[first:]
        for label, atoms in zip(("first", "second"), parts, strict=True):
            atoms.info = {"config_type": "monomer", "group": name, "part": label}
            yield atoms
        axis = parts[1].get_center_of_mass() - parts[0].get_center_of_mass()
        for factor in SCALED:
            moved = parts[1].copy()
            moved.positions += (factor - 1) * axis
            pair = parts[0] + moved
            pair.info = {"config_type": "complex", "group": name, "factor": factor}
            yield pair


def label(out: Path, given: argparse.Namespace) -> None:
    """Label all sets, those to be tested on first."""
    save(out / "s22.extxyz", list(s22_frames()))
    how = ["--calculator", "gfn2", "--workers", given.workers]
    command("label", out / "s22.extxyz", out / "labels" / "s22", *how)
    for part in reversed(PARTS):
        for name in SETS:
            limits = ["--min-gap", MIN_GAP, "--max-force", 30.0]
            files = sorted((out / name).glob(f"{part}*.extxyz"))
            command("label", *files, out / "labels" / f"{name}-{part}", *how, *limits)


def label_hessians(out: Path, given: argparse.Namespace) -> None:
    """Label relaxed molecules and ions of held-out scaffolds with their Hessians."""
    files = [out / name / "held-out.extxyz" for name in ("molecules", "ions")]
    frames = [atoms for path in files for atoms in read(path, ":")]
    relaxed = [atoms for atoms in frames if atoms.info["config_type"] == "relaxed"]
    chosen = np.random.default_rng(SEED).permutation(len(relaxed))[: given.hessians]
    save(out / "hessians.extxyz", [relaxed[i] for i in sorted(chosen)])
    how = ["--calculator", "gfn2", "--hessian", "finite-difference", "--workers", given.workers]
    command("label", out / "hessians.extxyz", out / "labels" / "hessians", *how)


STAGES = {
    "molecules": make_molecules,
    "dimers": make_dimers,
    "nearer": make_nearer,
    "label": label,
    "hessians": label_hessians,
}


def main() -> None:
    """Make the data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--molecules", type=int, default=3000)
    parser.add_argument("--ions", type=int, default=2000)
    parser.add_argument("--dimers", type=int, default=6000)
    parser.add_argument("--rings", type=int, default=1500, help="dimers with two hydrogen bonds")
    parser.add_argument("--hessians", type=int, default=60)
    parser.add_argument("--heavy", type=int, default=10, help="most heavy atoms of a molecule")
    parser.add_argument("--stages", nargs="+", default=[*STAGES], choices=[*STAGES])
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    for stage in given.stages:
        STAGES[stage](given.out, given)


if __name__ == "__main__":
    main()
