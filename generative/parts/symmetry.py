"""Keeping diffusion and flow to a space group, at every step.

Jiao et al., ICLR 2024 (DiffCSP++): atoms are put on Wyckoff positions, one atom of each orbit, the
anchor, moves, and the operations make the others of it; the lattice stays within the family of the
group. What the network says of an orbit's atoms is taken back to the anchor and averaged.

Deviations: Wyckoff positions are drawn, not taken from a template; the cell is a reduced primitive
one, as in the training set, so the group averages lattices instead of fixing single numbers. For
conventional cells the two are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from matkit.generative.parts.denoiser import Noisy, Prediction
from matkit.generative.parts.lattice import from_logarithm, to_logarithm
from matkit.generative.parts.randomness import Noise
from matkit.interfaces import Condition
from matkit.symmetry.assignments import Assignments, assignments
from matkit.symmetry.cells import Orbit, conventional_basis, orbit, reduced_basis, starts, turned
from matkit.symmetry.generic import generic_group
from matkit.symmetry.groups import space_group

MOST = 48  # operations; the order of every point group divides it
WAYS = 32  # assignments drawn for a crystal until one has no more symmetry than the group
RANK = 1e-6  # singular values of a projection are 0 or at least 1


@dataclass(frozen=True, eq=False)
class Symmetry:
    """Crystals of given space groups, with their atoms on given Wyckoff positions.

    Fractional coordinates of such crystals are kept as they are, not between 0 and 1: atom a lies
    at ``W_a x + w_a`` with x the place of its anchor. All is float64.

    Attributes:
        anchor: Index of each atom's anchor [B, n]; its own where there is no atom.
        rotation: W_a [B, n, 3, 3].
        translation: w_a [B, n, 3].
        origin: A place where the anchor may be [B, n, 3].
        directions: Where it may go, ``origin + u @ directions`` [B, n, 3, 3].
        projector: Projector on these directions [B, n, 3, 3].
        point_group: W of all operations, repeated if there are fewer [B, 48, 3, 3].
    """

    anchor: Int[Tensor, "B n"]
    rotation: Float[Tensor, "B n 3 3"]
    translation: Float[Tensor, "B n 3"]
    origin: Float[Tensor, "B n 3"]
    directions: Float[Tensor, "B n 3 3"]
    projector: Float[Tensor, "B n 3 3"]
    point_group: Float[Tensor, "B 48 3 3"]

    def started(self, state: Noisy) -> Noisy:
        """Return crystals of noise in which only the anchors count; coordinates are uniform."""
        species = self.of_anchor(state.species)
        return replace(state, species=species, fractional=self.start(state.fractional))

    def drawn(self, noise: Noisy) -> Noisy:
        """Return normal noise of coordinates and species that each orbit shares."""
        species = self.of_anchor(noise.species)
        return replace(noise, species=species, fractional=self.spread(noise.fractional))

    def averaged(self, predicted: Prediction) -> Prediction:
        """Return what the network says of coordinates and species, averaged over the group."""
        species = predicted.species
        return predicted._replace(
            coordinates=self.average(predicted.coordinates),
            species=None if species is None else self.orbit_mean(species),
        )

    def start(self, uniform: Float[Tensor, "B n 3"]) -> Float[Tensor, "B n 3"]:
        """Return coordinates [B, n, 3] of anchors anywhere on their positions, and of the others.

        Args:
            uniform: Uniform random numbers between 0 and 1 [B, n, 3].
        """
        return self._images(self.origin.to(uniform) + _column(self.directions.mT, uniform))

    def settle(self, fractional: Float[Tensor, "B n 3"]) -> Float[Tensor, "B n 3"]:
        """Return coordinates without what rounding has added: all atoms made of their anchors."""
        origin = self.origin.to(fractional)
        return self._images(origin + _column(self.projector, fractional - origin))

    def average(self, vectors: Float[Tensor, "B n 3"]) -> Float[Tensor, "B n 3"]:
        """Return velocities or scores averaged over the group [B, n, 3]."""
        return self.spread(self.orbit_mean(_column(self._inverse, vectors)))

    def spread(self, vectors: Float[Tensor, "B n 3"]) -> Float[Tensor, "B n 3"]:
        """Return the anchors' vectors, along what is free, turned to all atoms [B, n, 3]."""
        allowed = _column(self.projector, self.of_anchor(vectors))
        return _column(self.rotation, allowed)

    def of_anchor(self, values: Float[Tensor, "B n c"]) -> Float[Tensor, "B n c"]:
        """Return for each atom what its anchor has [B, n, c]."""
        return values.gather(1, self.anchor.unsqueeze(2).expand_as(values))

    def orbit_mean(self, values: Float[Tensor, "B n c"]) -> Float[Tensor, "B n c"]:
        """Return the mean over the atoms of each orbit, for each of them [B, n, c]."""
        index = self.anchor.unsqueeze(2).expand_as(values)
        total = torch.zeros_like(values).scatter_add(1, index, values)
        count = torch.zeros_like(values).scatter_add(1, index, torch.ones_like(values))
        return (total / count.clamp(min=1)).gather(1, index)

    def logarithm(self, k: Float[Tensor, "B 6"]) -> Float[Tensor, "B 6"]:
        """Return the logarithms of the nearest lattices that the group allows [B, 6].

        The volume stays. In a frame where the operations are orthogonal they act linearly on the
        logarithm of the metric tensor, and it is averaged there.
        """
        root, turns = self._frame
        inverse = torch.linalg.inv(root)
        cell = from_logarithm(k.double())
        values, vectors = torch.linalg.eigh(inverse @ cell @ cell.mT @ inverse)
        metric_log = (vectors * values.log().unsqueeze(1)) @ vectors.mT
        mean = (turns.mT @ metric_log.unsqueeze(1) @ turns).mean(dim=1)
        return to_logarithm(root @ torch.linalg.matrix_exp(mean / 2)).to(k)

    def matrix(self, cell: Float[Tensor, "B 9"]) -> Float[Tensor, "B 9"]:
        """Return the nearest lattice vectors that the group turns into each other [B, 9].

        They form a linear space, in one orientation: ``W^T L = L R^T`` for all operations W, with
        R their rotations in a reference lattice. So noise stays normal in it.
        """
        return torch.einsum("bij,bj->bi", self._allowed.to(cell), cell)

    @cached_property
    def _inverse(self) -> Float[Tensor, "B n 3 3"]:
        """Inverse of each W_a."""
        return torch.linalg.inv(self.rotation)

    @cached_property
    def _frame(self) -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, "B 48 3 3"]]:
        """A symmetric lattice that the group allows, and its rotations there."""
        metric = (self.point_group.mT @ self.point_group).mean(dim=1)
        values, vectors = torch.linalg.eigh(metric)
        root = (vectors * values.sqrt().unsqueeze(1)) @ vectors.mT
        wide = root.unsqueeze(1)
        return root, wide @ self.point_group @ torch.linalg.inv(wide)

    @cached_property
    def _allowed(self) -> Float[Tensor, "B 9 9"]:
        """Orthogonal projector on the allowed lattice vectors, flattened."""
        # The mean of W^-T L R is a projection too, but an oblique one.
        back = torch.linalg.inv(self.point_group).mT
        _, turns = self._frame
        mean = torch.einsum("bgij,bgkl->bgikjl", back, turns).mean(dim=1).reshape(-1, 9, 9)
        return mean @ torch.linalg.pinv(mean, rtol=RANK)

    def _images(self, place: Float[Tensor, "B n 3"]) -> Float[Tensor, "B n 3"]:
        return _column(self.rotation, self.of_anchor(place)) + self.translation.to(place)


def in_double(state: Noisy) -> Noisy:
    """Return crystals in double precision, in which symmetry is as good as exact."""
    return replace(state, fractional=state.fractional.double(), lattice=state.lattice.double())


def symmetry_of(condition: Condition, max_atoms: int, noise: Noise) -> Symmetry | None:
    """Return the symmetry to keep to, with Wyckoff positions drawn; None if none is asked for.

    Unless the condition says where the atoms are, all their assignments to positions are equally
    likely, as far as they do not bring more symmetry than is asked for. Atoms stay in their order.

    Args:
        condition: What the crystals must be.
        max_atoms: Largest cell to propose if an assignment is impossible.
        noise: One stream of random numbers per crystal.

    Raises:
        ConfigError: the atoms of a crystal cannot be put on positions of its group.
        UnknownNameError: there is no group of that number.
    """
    if condition.space_group is None:
        return None
    choices, shapes = noise.uniform(WAYS).tolist(), noise.normal(6).cpu().numpy()
    empty = _nothing(len(condition), int(condition.sizes.max()))
    known: dict[tuple[int, tuple[int, ...]], Assignments] = {}
    for b, (number, members) in enumerate(_wanted(condition)):
        if condition.position is not None:
            ways, way = _given(condition, b, members)
        else:
            key = number, tuple(map(len, members))
            ways = known[key] = known.get(key) or assignments(*key, max_atoms)
            way = ways.way(_faithful(ways, choices[b]))
        basis = conventional_basis(number)
        if not ways.conventional:
            basis = reduced_basis(number, shapes[b])
        _fill(empty, b, [(orbit(ways, i, basis), s) for i, s in way], members)
        rotations = turned(space_group(number).rotations, basis)
        empty["point_group"][b] = np.resize(rotations, (MOST, 3, 3))
    device = noise.keys.device
    return Symmetry(**{name: torch.from_numpy(value).to(device) for name, value in empty.items()})


def _faithful(ways: Assignments, choices: list[float]) -> int:
    """Return the first way that has just the symmetry of its group; if none has, the first."""
    drawn = [int(choice * ways.total) for choice in choices]
    number = ways.number
    faithful = (w for w in drawn if generic_group(number, tuple(ways.way(w))) == number)
    return next(faithful, drawn[0])


def _given(
    condition: Condition, b: int, members: list[list[int]]
) -> tuple[Assignments, list[tuple[int, int]]]:
    """Return the positions that a condition says, and the species of each orbit on them.

    Raises:
        StructureError: they do not hold as many atoms as there are.
    """
    assert condition.position is not None
    assert condition.space_group is not None
    positions = condition.position.split(condition.sizes.tolist())[b].tolist()
    conventional = condition.conventional is not None and bool(condition.conventional[b])
    counts = tuple(map(len, members))
    ways = Assignments(int(condition.space_group[b]), counts, conventional)
    species = {atom: kind for kind, atoms in enumerate(members) for atom in atoms}
    return ways, [(positions[start], species[start]) for start in starts(positions, ways)]


def _wanted(condition: Condition) -> list[tuple[int, list[list[int]]]]:
    """Return for each crystal its group, and the indices of the atoms of each species."""
    counts = condition.sizes.tolist()
    species = torch.zeros(sum(counts)) if condition.species is None else condition.species
    groups = [] if condition.space_group is None else condition.space_group.tolist()
    wanted = []
    for number, own in zip(groups, species.split(counts), strict=True):
        kinds = own.unique().tolist()
        wanted.append((number, [(own == kind).nonzero().flatten().tolist() for kind in kinds]))
    return wanted


def _nothing(count: int, n: int) -> dict[str, np.ndarray]:
    """Return the fields of `Symmetry` for crystals without atoms."""
    matrices = np.zeros((count, n, 3, 3))
    return {
        "anchor": np.tile(np.arange(n), (count, 1)),
        "rotation": matrices + np.eye(3),
        "translation": np.zeros((count, n, 3)),
        "origin": np.zeros((count, n, 3)),
        "directions": matrices.copy(),
        "projector": matrices.copy(),
        "point_group": np.zeros((count, MOST, 3, 3)),
    }


def _fill(
    fields: dict[str, np.ndarray], b: int, orbits: list[tuple[Orbit, int]], members: list[list[int]]
) -> None:
    """Write the orbits of crystal b to the atoms of their species, in order."""
    taken = [0] * len(members)
    for one, species in orbits:
        end = taken[species] + len(one.rotations)
        atoms = members[species][taken[species] : end]
        taken[species] = end
        fields["anchor"][b, atoms] = atoms[0]
        fields["rotation"][b, atoms] = one.rotations
        fields["translation"][b, atoms] = one.translations
        fields["origin"][b, atoms] = one.origin
        fields["directions"][b, atoms] = one.directions
        fields["projector"][b, atoms] = one.projector


def _column(
    matrices: Float[Tensor, "B n 3 3"], x: Float[Tensor, "B n 3"]
) -> Float[Tensor, "B n 3"]:
    """Return the products with column vectors, never in reduced precision."""
    return (matrices.to(x) * x.unsqueeze(2)).sum(dim=3)
