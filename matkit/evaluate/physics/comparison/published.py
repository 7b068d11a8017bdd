"""Published numbers of the functional PBE, which many potentials were trained on."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from ase.collections import dcdft

from matkit.evaluate.physics.comparison.items import Place
from matkit.evaluate.physics.comparison.run import PhysicsEntry
from matkit.evaluate.physics.quantities.surface import surface_name
from matkit.evaluate.physics.quantity import Numbers
from matkit.symmetry.datasets import symmetry_dataset

BULK, SURFACES = "PBE, WIEN2k", "PBE, VASP"
SOURCES = {
    BULK: "volumes and bulk moduli of elements, with all electrons: Lejaeghere, Van Speybroeck, "
    "Van Oost and Cottenier 2014, Critical Reviews in Solid State and Materials Sciences 39, 1, "
    "doi:10.1080/10408436.2013.772503, as they come with ASE (ase.collections.dcdft)",
    SURFACES: "surface energies of elements: Tran, Xu, Radhakrishnan, Winston, Sun, Persson and "
    "Ong 2016, Scientific Data 3, 160080, doi:10.1038/sdata.2016.80, data at "
    "doi:10.5061/dryad.f2n6f",
}
# By quantity: its number that ASE's collection has, and what it is called there.
COLUMNS = {"volume": ("volume", "wien2k_volume"), "elastic": ("bulk modulus", "wien2k_B")}
# By surface, in J/m²; without reconstruction.
SURFACE_ENERGIES = {
    "(111)": {  # fcc
        "Ag": 0.773,
        "Al": 0.795,
        "Au": 0.742,
        "Ca": 0.461,
        "Cu": 1.314,
        "Ni": 1.924,
        "Pd": 1.338,
        "Pt": 1.479,
        "Sr": 0.342,
    },
    "(110)": {  # bcc
        "Cr": 3.201,
        "Fe": 2.447,
        "Mo": 2.797,
        "Nb": 2.074,
        "Ta": 2.342,
        "V": 2.421,
        "W": 3.228,
    },
}
SYMPREC = 1e-3


def published(wanted: Sequence[Place]) -> list[PhysicsEntry]:
    """Return the numbers that are known, in the form of those of a model.

    They are of elements whose structure is the one that the source takes. Its bulk moduli are those
    of equations of state.
    """
    found = []
    for place in wanted:
        if len(set(place.start.numbers.tolist())) == 1:
            name = SURFACES if place.quantity == "surface" else BULK
            numbers = _surface_energy(place) if name == SURFACES else _of_bulk(place)
            found.append(PhysicsEntry(name, place, "done", numbers))
    return [entry for entry in found if entry.numbers]


def _surface_energy(place: Place) -> Numbers:
    surface, symbol = surface_name(place.start), place.start.get_chemical_symbols()[0]
    energy = SURFACE_ENERGIES.get(surface, {}).get(symbol)
    return {} if energy is None else {"surface energy": {surface: energy}}


def _of_bulk(place: Place) -> Numbers:
    symbol = place.start.get_chemical_symbols()[0]
    if place.quantity not in COLUMNS or not dcdft.has(symbol):
        return {}
    if _space_group(dcdft[symbol]) != _space_group(place.start):
        return {}
    number, column = COLUMNS[place.quantity]
    return {number: {"": float(dcdft.data[symbol][column])}}


def _space_group(atoms: Atoms) -> int:
    found = symmetry_dataset(
        (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), SYMPREC
    )
    return 0 if found is None else int(found.number)
