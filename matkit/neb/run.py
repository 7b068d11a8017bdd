"""From two structures to the path between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import at_precision
from matkit.data.pymatgen import as_atoms
from matkit.neb.ends import check_ends, check_moved, exchanged
from matkit.neb.options import NEBOptions
from matkit.neb.results import NEBResult
from matkit.options import PRECISION, resolve
from matkit.simulate.frames import max_force
from matkit.simulate.inputs import prepare
from matkit.simulate.options import RelaxOptions
from matkit.simulate.plausibility import too_close
from matkit.simulate.results import OnStep, SimulationProgress
from matkit.simulate.several import evaluated, relaxed
from matkit.transition.band import ASIDE, Band, BandSettings, interpolated, relaxed_band
from matkit.transition.likeness import aligned
from matkit.transition.record import SearchRecord

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure

# Steps of the band between its files.
KEPT_EVERY = 10
# An image this much below both its neighbours is a minimum, eV.
WELL = 0.005
# An end counts as relaxed up to this multiple of the force asked for: written forces are rounded.
AT_REST = 1.01


def neb(
    structures: Sequence[AnyStructure],
    calc: BaseCalculator | None = None,
    options: NEBOptions | None = None,
    *,
    record: SearchRecord | None = None,
    on_step: OnStep | None = None,
    **changes: Any,
) -> NEBResult:
    """Find the minimum energy path, e.g. ``neb([initial, final], calc, images=5)``.

    Both ends are relaxed at their cell, images are put between them by the image-dependent pair
    potential, and a nudged elastic band with a climbing image is relaxed, all images computed in
    one batch. In crystals atoms take the shortest way across the boundaries.

    Args:
        structures: Initial and final one with the same atoms in the same order and cell, of ASE or
            pymatgen; they are not changed.
        calc: Any ASE calculator; the potential that comes with matkit if not given.
        options: See `NEBOptions`.
        record: Where to keep the band, and from where to take one that was begun; None for nowhere.
        on_step: Called after every step.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible.
        StructureError: see `check_ends`; or both ends relax to the same structure.
        SimulationError: a relaxation failed, or something is not a number.
    """
    options = resolve(NEBOptions, options, changes)
    given = list(structures) if isinstance(structures, list | tuple) else [structures]
    several = [as_atoms(structure) for structure in given]
    check_ends(several)
    _, calc = prepare(several[0], calc)
    calc = at_precision(calc, PRECISION)
    record = record or SearchRecord(None)
    band = record.band()
    if band is None:
        ends = _ends(several, calc, options, on_step)
        # In molecules, atoms on one line would have to pass through each other.
        aside = 0.0 if ends[0].pbc.any() else ASIDE
        frames = interpolated(ends[0], ends[1], options.images, aside)
        band = Band(frames, 0, float("nan"), False)
    if not band.converged:
        settings = BandSettings(options.fmax, options.steps, options.climb, options.spring)
        show = _showing(record, options, on_step)
        band = relaxed_band(band.frames, calc, settings, show, done=min(band.steps, options.steps))
        record.keep_band(band)
    unrelaxed = _unrelaxed(band, options)
    energies = [frame.get_potential_energy() for frame in band.frames]
    return NEBResult(
        atoms=band.frames[int(np.argmax(energies))],
        given=type(given[0]),
        reason="converged" if band.converged and not unrelaxed else "max_steps",
        steps=band.steps,
        max_force=band.force,
        band=band,
        messages=[text for text in (exchanged(*several), *unrelaxed, *_remarks(band)) if text],
    )


def _ends(
    structures: Sequence[Atoms], calc: BaseCalculator, options: NEBOptions, on_step: OnStep | None
) -> list[Atoms]:
    """Return both ends with their results; a molecule is turned to the other."""
    if options.relax_ends:
        settings = RelaxOptions(fmax=options.relax_fmax, steps=options.relax_steps)
        initial, final = relaxed(structures, calc, settings, on_step)[0]
        check_moved(initial, final, " after relaxation")
    else:
        initial, final = structures
    return evaluated([initial, aligned(final, initial)], calc)


def _unrelaxed(band: Band, options: NEBOptions) -> list[str]:
    """Return which ends should be at rest and are not."""
    forces = {"initial": max_force(band.frames[0]), "final": max_force(band.frames[-1])}
    return [
        f"the {name} structure is not relaxed: its largest force is {force:.3g} eV/Å"
        for name, force in forces.items()
        if options.relax_ends and not force < AT_REST * options.relax_fmax
    ]


def _remarks(band: Band) -> list[str]:
    """Return what is strange about a path."""
    energies = np.array([frame.get_potential_energy() for frame in band.frames])
    remarks = []
    if not band.converged:
        remarks.append(
            f"the band is not converged: its largest force is {band.force:.3g} eV/Å after "
            f"{band.steps} steps; raise steps or fmax"
        )
    if energies.argmax() in (0, len(energies) - 1):
        remarks.append("there is no barrier: no image is higher than both ends")
    inside = energies[1:-1]
    wells = np.flatnonzero((inside < energies[:-2] - WELL) & (inside < energies[2:] - WELL)) + 1
    if len(wells):
        remarks.append(
            f"there is a minimum on the way (image {', '.join(map(str, wells))}): relax it and "
            "compute the paths from it to both ends"
        )
    return [*remarks, *dict.fromkeys(too_close(frame) for frame in band.frames)]


def _showing(
    record: SearchRecord, options: NEBOptions, on_step: OnStep | None
) -> Callable[[Band], None]:
    """Return what keeps and shows a band now and then."""

    def show(band: Band) -> None:
        if band.steps % KEPT_EVERY == 0:
            record.keep_band(band)
        if on_step is not None:
            step = SimulationProgress(
                step=band.steps,
                steps=options.steps,
                energy=band.peak_energy,
                max_force=band.force,
            )
            on_step(step)

    return show
