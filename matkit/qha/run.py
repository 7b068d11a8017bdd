"""Phonons at several volumes, and all that follows from them, for one crystal."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import at_precision
from matkit.eos.run import unrelaxed, worst
from matkit.eos.volumes import at_rest, at_volumes, check_crystal, energies
from matkit.errors import SimulationError
from matkit.hessians.calculators import check_method
from matkit.options import PRECISION, resolve
from matkit.phonons.force_constants import add_force_constants
from matkit.phonons.options import PhononsOptions
from matkit.phonons.predicted import with_reach
from matkit.phonons.supercell import make_phonopy, multiples
from matkit.qha.options import QHAOptions
from matkit.qha.results import QHAResult
from matkit.simulate.inputs import prepare
from matkit.simulate.results import OnStep

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy import QHAResult as Thermodynamics

    from matkit.data.pymatgen import AnyStructure

# Volumes that the equation of state and the polynomials of phonopy need.
FEWEST = 5


def qha(
    structure: AnyStructure,
    calc: BaseCalculator | None = None,
    options: QHAOptions | None = None,
    *,
    on_step: OnStep | None = None,
    **changes: Any,
) -> QHAResult:
    """Compute thermal expansion and more, e.g. ``qha(bulk("Si"), calc, max_temperature=600)``.

    Phonons at several volumes give the free energy over volume and temperature; its minimum over
    the volume is the Gibbs energy at zero pressure (phonopy's `run_qha`).

    Args:
        structure: Crystal of ASE or pymatgen; it is not changed. Isotopes are set by its masses.
        calc: Any ASE calculator; the potential that comes with matkit if not given.
        options: See `QHAOptions`.
        on_step: Called after every step of the relaxations.
        **changes: Single options by name.

    Raises:
        ConfigError: an option is unknown or impossible, or the calculator lacks stresses or the
            method.
        StructureError: the structure is empty, not finite, not periodic in three directions, or
            constrained.
        SimulationError: a relaxation failed, forces are not numbers, too few volumes have no
            imaginary modes, or the crystal's volume is not between them.
        MissingExtraError: phonopy or seekpath is not installed.
    """
    options = resolve(QHAOptions, options, changes)
    atoms, calc = prepare(structure, calc)
    calc = at_precision(calc, PRECISION)
    check_crystal(atoms, calc, options)
    check_method(calc, options.method)
    settings = with_reach(options.phonons(), calc)
    make_phonopy(atoms, settings)  # a missing package is said before the work
    frame, reason, steps = at_rest(atoms, calc, options, on_step)
    frames, reasons = at_volumes(frame, calc, options, on_step)
    a, b, c = np.max([multiples(one, settings.min_length) for one in frames], axis=0).tolist()
    models = [_model(one, calc, settings, (a, b, c)) for one in frames]
    stable, left_out = _stable(models, options)
    cells = [len(models[i].primitive) / len(frame) for i in stable]
    static = energies([frames[i] for i in stable]) * cells
    floor = float(static.min())  # fits of small numbers are more precise
    found = _thermodynamics([models[i] for i in stable], static - floor, options)
    count, cut = _within(found, options)
    texts = [*unrelaxed(reason, reasons), left_out, cut]
    return QHAResult(
        atoms=frame,
        given=type(structure),
        reason=worst([reason, *reasons]),
        steps=steps,
        primitive_atoms=len(models[0].primitive),
        supercell=(a, b, c),
        volumes=np.asarray(found.volumes),
        free_energies=np.asarray(found.helmholtz_volume)[:count] + floor,
        temperatures=np.asarray(found.temperatures)[:count],
        volume=np.asarray(found.equilibrium_volumes)[:count],
        gibbs=np.asarray(found.gibbs_free_energies)[:count] + floor,
        entropy=np.asarray(found.entropy_temperature)[:count],
        bulk_modulus=np.asarray(found.bulk_moduli)[:count],
        **{name: values[:count] for name, values in _responses(found).items()},
        message="; ".join(text for text in texts if text),
    )


def _model(
    frame: Atoms, calc: BaseCalculator, options: PhononsOptions, repeats: tuple[int, int, int]
) -> Phonopy:
    """Return the harmonic crystal at one volume."""
    phonopy = make_phonopy(frame, options, repeats)
    add_force_constants(phonopy, calc, options)
    return phonopy


def _stable(models: Sequence[Phonopy], options: QHAOptions) -> tuple[list[int], str]:
    """Return which volumes have no imaginary modes, and what is said of the others."""
    lowest = [float(np.min(model.run_mesh(options.mesh).frequencies)) for model in models]
    stable = [i for i, frequency in enumerate(lowest) if frequency >= -options.imaginary]
    if len(stable) == len(models):
        return stable, ""
    named = ", ".join(
        f"{model.primitive.volume:.2f} Å³ ({-frequency:.2f}i THz)"
        for i, (model, frequency) in enumerate(zip(models, lowest, strict=True))
        if i not in stable
    )
    if len(stable) < FEWEST:
        raise SimulationError(
            f"Expected at least {FEWEST} volumes without imaginary modes, got {len(stable)} of "
            f"{len(models)}. There are some at the volumes of the primitive cell of {named}. The "
            "crystal is not stable there: take other volumes (compress, expand, points), a larger "
            "supercell (min_length), or a lower symmetry of the crystal."
        )
    return stable, f"volumes with imaginary modes are left out: {named}"


def _thermodynamics(
    models: Sequence[Phonopy], static: np.ndarray, options: QHAOptions
) -> Thermodynamics:
    """Return phonopy's result, of one temperature more than asked for at most."""
    from phonopy import run_qha

    step = options.temperature_step
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that fail and lattice parameters; see `_within`
        try:
            return run_qha(
                models,
                np.arange(0.0, options.max_temperature + 1.5 * step, step),
                internal_energies=static,
                mesh=options.mesh,
                eos=options.equation.replace("-", "_"),
                exclude_gamma_acoustic=True,
            )
        except (RuntimeError, ValueError, IndexError) as error:
            raise SimulationError(
                f"No equation of state fits the free energies ({type(error).__name__}: {error}). "
                "Relax the crystal first, or take other volumes (compress, expand)."
            ) from error


def _responses(found: Thermodynamics) -> dict[str, np.ndarray]:
    """Return expansion, heat capacity and Grüneisen parameter at each temperature.

    ``β = (dS/dV) / B`` by Maxwell's relation, ``C_P = C_V + β² B V T`` and ``γ = V (dS/dV) / C_V``,
    from fits over the volume. Phonopy's own differences over the temperature carry the noise of one
    fit after the other.
    """
    kelvin, volume = np.asarray(found.temperatures), np.asarray(found.equilibrium_volumes)
    slope, bulk = np.asarray(found.heat_capacity_P.dsdv), np.asarray(found.bulk_moduli)
    own = kelvin * volume * np.asarray(found.thermal_expansion) * slope
    at_volume = np.asarray(found.heat_capacity_P.heat_capacities) - own
    expansion = slope / bulk
    ratio = np.divide(volume * slope, at_volume, out=np.zeros_like(slope), where=at_volume > 0)
    return {
        "expansion": expansion,
        "heat_capacity": at_volume + kelvin * volume * expansion * slope,
        "grueneisen": ratio,
    }


def _within(found: Thermodynamics, options: QHAOptions) -> tuple[int, str]:
    """Return up to which temperature the volume is between those computed, and what to say."""
    first, last = float(np.min(found.volumes)), float(np.max(found.volumes))
    volumes = np.asarray(found.equilibrium_volumes)
    steps = options.temperature_step * np.arange(len(volumes))
    good = (first < volumes) & (volumes < last) & np.isclose(found.temperatures, steps)
    count = len(volumes) if good.all() else int(np.argmin(good))
    if count < 2:
        end = "compress" if volumes[0] <= first else "expand"
        raise SimulationError(
            f"Expected a volume between {first:.2f} and {last:.2f} Å³ of the primitive cell at 0 K,"
            f" got {volumes[0]:.2f} Å³. Raise {end}, or relax the crystal first."
        )
    kelvin = float(found.temperatures[count - 1])
    if kelvin > options.max_temperature - options.temperature_step:
        return count, ""
    return count, (
        f"above {kelvin:g} K the crystal has no volume between {first:.2f} and {last:.2f} Å³: "
        "raise expand for higher temperatures"
    )
