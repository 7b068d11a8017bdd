"""The sites of a CIF: what each holds, and the atoms that symmetry makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from matkit.data.cif_symmetry import Operations
from matkit.data.cif_tags import NOTHING, Tags, number
from matkit.data.species import Species, species_of_labels, species_of_type
from matkit.errors import DataError

# Å. No two atoms are closer: images of one site are one atom, two sites are a mistake.
SAME = 0.25
# What an occupancy may lack for rounding.
ROUNDING = 5e-4
# Their operators are others, or there are more than three dimensions.
STRANGE = ("_space_group_symop_magn", "_cell_modulation", "_cell_wave_vector")
DISORDER = "expected one atom on every site, got partial occupancies"


class Site(NamedTuple):
    """A row of the table of sites; the place is fractional, or in Å if there is no cell.

    `atoms` is how many atoms of the cell the file says it stands for, if it does.
    """

    label: str
    species: Species
    place: Float[np.ndarray, " 3"]
    atoms: str = ""


def sites(tags: Tags, cell: np.ndarray | None, formula: frozenset[str]) -> list[Site]:
    """Return the sites of a block.

    Args:
        tags: What the block says.
        cell: Lattice vectors as rows, Å; None if there is none.
        formula: Elements that the file says there are.

    Raises:
        DataError: a site has no element or no place, or does not hold one whole atom.
    """
    places = _places(tags, cell)
    labels = tags.column("_atom_site_label", "_atom_site_label_atom_id", "_atom_site_type_symbol")
    labels = labels or ["?"] * len(places)
    _refuse_disorder(tags, labels)
    species = _species(tags, formula)
    names = ("symmetry_multiplicity", "site_symmetry_multiplicity")
    counts = tags.column(*(f"_atom_site_{name}" for name in names)) or [""] * len(places)
    if not len(places) == len(labels) == len(species) == len(counts):
        raise DataError("its columns of sites differ in length")
    return [Site(*row) for row in zip(labels, species, places, counts, strict=True)]


def _species(tags: Tags, formula: frozenset[str]) -> list[Species]:
    types = tags.column("_atom_site_type_symbol")
    if not types:
        return species_of_labels(tags.column("_atom_site_label"), formula)
    found = []
    for text in types:
        species = species_of_type(text)
        if species is None:
            raise DataError(f"the type symbol {text!r} is no chemical symbol")
        found.append(species)
    return found


def _places(tags: Tags, cell: np.ndarray | None) -> np.ndarray:
    """Return fractional coordinates [N,3], or those in Å if there is no cell."""
    for kind in ("fract", "cartn"):
        names = [f"_atom_site_{kind}_{axis}" for axis in "xyz"]
        columns = [tags.column(name) for name in names]
        if not any(columns):
            continue
        if len({len(column) for column in columns}) > 1:
            raise DataError(f"its columns {', '.join(names)} differ in length")
        rows = zip(*columns, strict=True)
        values = [[number(x, n) for x, n in zip(row, names, strict=True)] for row in rows]
        if kind == "fract" and cell is None:
            raise DataError("it has fractional coordinates and no cell")
        if kind == "fract" or cell is None:
            return np.array(values)
        _refuse_axes(tags, cell)
        return np.array(values) @ np.linalg.inv(cell)
    raise DataError("its sites have no coordinates")


def _refuse_axes(tags: Tags, cell: np.ndarray) -> None:
    """Refuse Cartesian coordinates along other axes than a along x, b in the plane of x and y."""
    names = [
        [tags.text(f"_atom_sites_cartn_tran_matrix_{i}{j}") for j in (1, 2, 3)] for i in (1, 2, 3)
    ]
    if any(map(any, names)):
        matrix = [[number(text or "?", "the axes of x, y, z") for text in row] for row in names]
        if not np.allclose(matrix, cell.T, atol=0.01):
            raise DataError("its Cartesian axes are not those of the cell. Give fractional places")


def _refuse_disorder(tags: Tags, labels: Sequence[str]) -> None:
    """Refuse sites that hold no whole atom, or one of several models or modulated crystals."""
    for label, text in zip(labels, tags.column("_atom_site_occupancy"), strict=False):
        # The dictionary says that 1 is meant where nothing is said.
        part = 1.0 if text in NOTHING else number(text, f"the occupancy of {label}")
        if abs(part - 1) > ROUNDING:
            raise DataError(f"{DISORDER} ({label}: {text}). Make an ordered cell first")
    groups = {text for text in tags.column("_atom_site_disorder_group") if text not in NOTHING}
    if len(groups) > 1 or any(text.startswith("-") for text in groups):
        raise DataError(f"{DISORDER} (disorder groups {', '.join(sorted(groups))})")
    if any(name.startswith(STRANGE) for name in tags.values):
        raise DataError("it is of a magnetic or modulated structure, which is not read")
    if len(set(tags.column("_atom_site_pdbx_pdb_model_num"))) > 1:
        raise DataError("it holds several models of one structure. Keep one")
    if "dum" in tags.column("_atom_site_calc_flag"):
        raise DataError("it has dummy sites, which are no atoms. Take them out")
    attached = tags.column("_atom_site_attached_hydrogens")
    if any(text not in (*NOTHING, "0") for text in attached):
        raise DataError("it has hydrogen atoms without places (attached_hydrogens). Add them")


def expanded(
    listed: Sequence[Site], group: Operations, cell: np.ndarray
) -> tuple[list[Site], Float[np.ndarray, "N 3"]]:
    """Return the site of every atom of the cell, and its place.

    Raises:
        DataError: two sites, or two images of one that are not one atom, are on the same place.
    """
    orbits = [_orbit(site, group, cell) for site in listed]
    for site, orbit in zip(listed, orbits, strict=True):
        if site.atoms.isdigit() and int(site.atoms) != len(orbit):
            raise DataError(
                f"site {site.label} stands for {site.atoms} atoms, but its symmetry operators or "
                f"space group give {len(orbit)}. Correct them, or its place"
            )
    found = [site for site, orbit in zip(listed, orbits, strict=True) for _ in orbit]
    places = np.concatenate(orbits)
    if not np.isfinite(places).all():
        raise DataError("its places are not finite")
    reach = min(SAME / np.linalg.svd(cell, compute_uv=False)[-1], 0.49)
    # A place of -1e-17 is wrapped to 1, which is outside of the box.
    wrapped = places % 1 % 1
    for i, j in sorted(cKDTree(wrapped, boxsize=1).query_pairs(reach)):
        if _distances(places[i] - places[j], cell) < SAME:
            raise DataError(
                f"the sites {found[i].label} and {found[j].label} are on the same place. Take one "
                "out, or make an ordered cell first"
            )
    return found, places


def _orbit(site: Site, group: Operations, cell: np.ndarray) -> Float[np.ndarray, "M 3"]:
    """Return the images of a site; those that fall together are one atom."""
    images = np.einsum("gij,j->gi", group.rotations, site.place) + group.translations
    if len(images) == 1:
        return images
    near = _distances(images[:, None] - images, cell) < SAME
    first = near.argmax(axis=1)
    kept, counts = np.unique(first, return_counts=True)
    if len(set(counts.tolist())) > 1 or not np.array_equal(near, near[first]):
        raise DataError(
            f"the images of site {site.label} come so close that it cannot be told how many atoms "
            "they are. Give its place with more digits"
        )
    return images[kept]


def _distances(differences: np.ndarray, cell: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm((differences - differences.round()) @ cell, axis=-1))
