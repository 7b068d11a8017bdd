"""``python -m matkit.demo``: relaxation, dynamics and, with generators, crystals and molecules."""

from __future__ import annotations

import csv
import time
from importlib.util import find_spec
from pathlib import Path

from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.calculators.calculator import BaseCalculator
from ase.constraints import FixAtoms
from ase.io import write

from matkit import generate, load_calculator
from matkit.crystals.generation import CrystalOptions
from matkit.errors import MissingExtraError, UnknownNameError
from matkit.generate import Batch, GenerateOptions
from matkit.label.calculator_engine import xtb_engine
from matkit.models.shipped import DEFAULT_POTENTIAL
from matkit.models.zoo import load_generator
from matkit.molecules.generation import MoleculeOptions
from matkit.simulate import MDOptions, MDResult, RelaxResult, md, relax
from matkit.vibrations import VibrationsResult, vibrations

OUT = Path("results") / "demo"
MODEL = DEFAULT_POTENTIAL
FORMULA = "SrTiO3"
# What compositions are drawn from for a generator that does not find the species itself.
SYSTEM = "K-Nb-O-F"
# Relaxes molecules where there is no tblite for GFN2-xTB, and predicts their Hessians.
HESSIANS = "hip-gfn2-chno"


def main(out: Path = OUT, steps: int = 200) -> None:
    """Run the demonstration and write its files and figure into `out`.

    Args:
        out: Folder; the files of an earlier demonstration are replaced.
        steps: Steps of molecular dynamics.
    """
    out.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    precise = load_calculator(MODEL, dtype="float64")
    licence = precise.info.get("licence", "not stated")
    print(f"Model {MODEL}, licence: {licence}")

    print("\n1. Wurtzite (ZnO), 16 atoms, strained by 3 % and distorted: positions and cell")
    start = distorted_crystal()
    relaxed = relax(start, precise, relax_cell=True)
    report(relaxed, "wurtzite", out)
    print(f"   cell {lengths(start)} -> {lengths(relaxed.atoms)} Å")

    print("\n2. CO on Cu(111), lower layer fixed: positions")
    report(relax(molecule_on_surface(), precise, fmax=0.03), "co-on-copper", out)

    print(f"\n3. {steps} steps of dynamics of 64 atoms of silicon at 600 K, constant energy")
    result = dynamics(load_calculator(MODEL, dtype="float32"), out / "silicon", steps)
    draw(out / "silicon-stats.csv", out / "silicon.png")
    print(
        f"   {result.reason}: {result.steps_per_second:.1f} steps/s, drift {result.drift:.3f} "
        "meV/atom/ps"
    )
    print("\n4. New crystals from a generator, relaxed: eight of one formula, then four free ones")
    new_crystals(out)
    print("\n5. New molecules from a generator, relaxed, and their vibrations: four")
    new_molecules(out)
    print(f"\nFiles and figure in {out}; {time.perf_counter() - begin:.0f} s in all.")


def distorted_crystal() -> Atoms:
    """Return wurtzite with a cell too wide and atoms away from their places."""
    wurtzite = bulk("ZnO", "wurtzite", a=3.25, c=5.21).repeat((2, 2, 1))
    wurtzite.set_cell(1.03 * wurtzite.cell, scale_atoms=True)
    wurtzite.rattle(0.1, seed=1)
    return wurtzite


def molecule_on_surface() -> Atoms:
    """Return CO above a copper slab of three layers, the lowest of them fixed."""
    slab = fcc111("Cu", (2, 2, 3), vacuum=7.0)
    carbon_monoxide = molecule("CO")  # oxygen above carbon
    carbon_monoxide.rotate(25, "x")
    add_adsorbate(slab, carbon_monoxide, 1.9, slab.positions[-1, :2], mol_index=1)
    slab.info.clear()  # ASE's notes on the adsorption sites
    slab.set_constraint(FixAtoms(mask=slab.get_tags() == 3))
    slab.pbc = True
    return slab


def dynamics(calc: BaseCalculator, out: Path, steps: int) -> MDResult:
    """Run silicon at constant energy."""
    atoms = bulk("Si", cubic=True).repeat(2)
    options = MDOptions(
        ensemble="nve", temperature=600.0, steps=steps, stats_every=2, traj_every=10
    )
    return md(atoms, calc, options, out=out, overwrite=True)


def new_crystals(out: Path) -> None:
    """Generate crystals with what comes with matkit, or say that nothing does."""
    try:
        generator, card = load_generator()
    except UnknownNameError as error:
        print(f"   Left out. {error}")
        return
    print(f"   Model {card['name']}, licence: {card.get('licence', 'not stated')}")
    common = CrystalOptions(model=card["path"], relax=MODEL, overwrite=True)
    given = {"formula": FORMULA, "num_samples": 8, "out": str(out / FORMULA)}
    free = {"num_samples": 4, "out": str(out / "free")}
    if "species" in generator.inputs:
        batch_of(common.model_copy(update=given))
    else:
        print(f"   No {FORMULA}: the model finds the species itself")
    if generator.generates_species:
        free["num_atoms"] = f"2-{min(8, generator.max_atoms)}"  # large ones take long to relax
    else:
        free["chemical_system"] = SYSTEM
    batch_of(common.model_copy(update=free))


def new_molecules(out: Path) -> None:
    """Generate molecules with what comes with matkit, relax them, and compute their vibrations."""
    try:
        generator, card = load_generator(domain="molecule")
        model = "gfn2" if find_spec("tblite") else HESSIANS
        options = MoleculeOptions(
            model=card["path"],
            relax=model,
            num_samples=4,
            num_atoms=f"8-{min(12, generator.max_atoms)}",  # vibrations of larger ones take long
            out=str(out / "molecules"),
        )
        batch = batch_of(options.model_copy(update={"overwrite": True}))
    except (UnknownNameError, MissingExtraError) as error:
        print(f"   Left out. {error}")
        return
    for number, atoms in batch.relaxed.items():
        smiles = batch.evaluation.molecules[list(batch.drawn).index(number)].verdict.smiles
        result = vibrations_of(atoms, model)
        highest = result.modes.frequencies.max()
        print(
            f"   {number}: {smiles or 'not valid'}, {len(result.modes.frequencies)} modes, highest "
            f"{highest:.0f} cm⁻¹; {result.reason}"
        )


def vibrations_of(atoms: Atoms, model: str) -> VibrationsResult:
    """Return the vibrations of a molecule by GFN2-xTB, or by a model that predicts Hessians."""
    if model == HESSIANS:
        return vibrations(atoms, load_calculator(model, dtype="float64"), method="predict")
    calc = xtb_engine(model, {}).calculator(atoms)
    return vibrations(atoms, calc, method="finite-difference")


def batch_of(options: GenerateOptions) -> Batch:
    """Generate and relax structures, write everything known of them, and print how many came."""
    batch = generate(options)
    formulas = sorted({a.get_chemical_formula("metal") for a in batch.generated})
    print(
        f"   {len(batch.generated)} {batch.noun}s ({', '.join(formulas)}), {len(batch.relaxed)} of "
        f"them relaxed, in {batch.metrics['wall_time']:.0f} s; pictures in "
        f"{options.out}/report.html"
    )
    return batch


def report(result: RelaxResult, name: str, out: Path) -> None:
    """Print how a relaxation ended and write its structure."""
    write(out / f"{name}-relaxed.extxyz", result.atoms)
    print(
        f"   energy {result.initial_energy:.4f} -> {result.energy:.4f} eV, converged: "
        f"{result.converged}, {result.steps} steps, largest force {result.max_force:.4f} eV/Å, "
        f"{result.steps / result.wall_time:.1f} steps/s"
    )


def lengths(atoms: Atoms) -> str:
    """Return the lengths of the lattice vectors."""
    return " ".join(f"{x:.3f}" for x in atoms.cell.lengths())


def draw(table: Path, figure: Path) -> None:
    """Draw energies and temperature over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    with table.open() as file:
        rows = list(csv.DictReader(file))
    columns = {key: [float(row[key]) for row in rows] for key in rows[0]}
    times = columns["time_fs"]
    canvas, (upper, lower) = pyplot.subplots(2, sharex=True, figsize=(6, 5), layout="constrained")
    for key, label in (("total_eV", "total"), ("potential_eV", "potential")):
        start = columns[key][0]
        upper.plot(times, [value - start for value in columns[key]], label=label)
    upper.set_ylabel("energy since the start (eV)")
    upper.legend(loc="upper right")
    lower.plot(times, columns["temperature_K"], color="tab:red")
    lower.set(xlabel="time (fs)", ylabel="temperature (K)")
    canvas.savefig(figure, dpi=150)
    pyplot.close(canvas)


if __name__ == "__main__":
    main()
