"""Any network, averaged over turned copies of a structure, so that it does not matter how it lies.

Group averages (grids), frame averages (Puny et al., ICLR 2022; stochastic as in FAENet, Duval et
al., ICML 2023), learned canonical orientations (Kaba et al., ICML 2023) and orbit distances (Nguyen
et al., 2023) are the same average over different sets of copies, see `matkit.nn.orientations`;
the copy of lowest energy is a set of one. Copies turn with their cell; edges and shifts are those
of the structure.

What is averaged is the energy, of which forces and stress are derivatives also through the
orientations. Forces of a network's own are turned back and averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from matkit.errors import ConfigError, did_you_mean
from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.interfaces.properties import RANKS, SHAPES
from matkit.nn.lowest_orientations import lowest_orientations
from matkit.nn.orientations import (
    FrameOrientations,
    GridOrientations,
    LearnedOrientations,
    Orientations,
    RandomOrientations,
    orbit_distance,
)
from matkit.nn.scatter import scatter_sum
from matkit.scopes import ranges

# Edges of all copies that are computed at once. More are not faster on a CPU, and a transformer
# needs 15 kB for each of them.
EDGES = 100_000
MODES = ("grid", "frames", "stochastic", "canonical", "energy", "orbit", "augmentation")


class Symmetrized(Potential):
    """A network averaged over orientations.

    Args:
        species: Atomic numbers; the backbone's.
        backbone: Any potential. In a configuration, its `name` and hyper-parameters.
        mode: Over which: `grid`, a fixed set, invariant up to its degree and smooth; `frames`, the
            principal axes of the structure with all signs, exactly invariant where these axes
            differ; `stochastic`, one of these at random in training and all otherwise; `canonical`,
            one that a small network learns; `energy`, the one of lowest energy, sought from the
            grid; `orbit`, as `canonical` without making its axes orthonormal,
            with their distance from that as `penalty`; `augmentation`, a random turn in training
            and none otherwise, so that the network has to learn what it can.
        size: Matrices of the grid, which also serves where there are no axes; see
            `matkit.nn.rotation_grids.rotation_grid`.
        reflections: Whether mirror images are the same; rotations alone otherwise.

    Raises:
        ConfigError: the mode is unknown, there is no grid of this size, or the backbone predicts
            something else than energies and that cannot be learnt by distorted copies, or no
            energy by which to choose one.
    """

    recordable = False

    def __init__(
        self,
        species: Sequence[int],
        backbone: Potential,
        mode: str = "grid",
        size: int = 24,
        reflections: bool = True,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ConfigError(f"Unknown mode {mode!r}.{did_you_mean(mode, MODES)}")
        self.backbone, self.mode = backbone, mode
        self.species, self.cutoff = tuple(species), backbone.cutoff
        self.conditions, self.one_level = backbone.conditions, backbone.one_level
        self.provides = backbone.provides & RANKS.keys()
        if mode == "orbit":
            if self.provides & {"forces", "stress"}:
                raise ConfigError(
                    "Forces of a network's own cannot be turned back from distorted copies; take "
                    "another mode than orbit."
                )
            self.provides |= {"penalty"}
        if mode == "energy" and not backbone.provides & {"energy", "atom_energy"}:
            raise ConfigError(
                f"Expected a network with energies, got {', '.join(sorted(backbone.provides))}: "
                "the mode energy takes the orientation of lowest energy. Take another mode."
            )
        grid = GridOrientations(size, reflections)
        self.orientations = _orientations(self, grid, reflections)

    def forward(self, graph: Graph) -> Properties:
        """Return the averages of what the backbone gives for the copies."""
        copies = self._copies(graph)
        parts = self._parts(graph, copies)
        if len(parts) == 1 or not torch.is_grad_enabled():
            return _sum(self._part(graph, part) for part in parts)
        # Computed again for the derivative, so that no two parts are in memory at once.
        return _sum(
            checkpoint(self._part, graph, part, use_reentrant=False, preserve_rng_state=False)
            for part in parts
        )

    def edge_gradient(self, graph: Graph) -> tuple[Properties, Float[Tensor, "E 3"]] | None:
        """Return the same, with dE/d(edge vector), also through the orientations."""
        with torch.enable_grad():
            vectors = graph.vectors.detach().requires_grad_()
            moving = graph.replace(positions=graph.positions.detach())
            vars(moving)["vectors"] = vectors
            copies = self._copies(moving)
        fixed = Orientations(*(part.detach() for part in copies))
        gradient, results, by_matrix = torch.zeros_like(vectors), [], []
        for part in self._parts(graph, fixed):
            turned, atoms, edges = turned_copies(graph, part)
            found = self.backbone.edge_gradient(turned)
            if found is None:
                return None
            result, by_copy = found
            of_edge = turned.batch[turned.center]
            by_copy = by_copy.to(vectors) * part.weight[of_edge].to(vectors).unsqueeze(1)
            matrix = part.matrix.to(vectors)
            gradient.index_add_(0, edges, torch.einsum("ex,eyx->ey", by_copy, matrix[of_edge]))
            if copies.matrix.requires_grad:
                outer = vectors.detach()[edges].unsqueeze(2) * by_copy.unsqueeze(1)
                by_matrix.append(scatter_sum(outer, of_edge, len(turned)))
            results.append(self._averaged(graph, part, result, atoms))
        if by_matrix:
            by_copies = torch.cat(by_matrix).to(copies.matrix)
            (through,) = torch.autograd.grad(copies.matrix, vectors, by_copies)
            gradient = gradient + through
        return _sum(results), gradient

    def _copies(self, graph: Graph) -> Orientations:
        """Return the orientations over which is averaged."""
        copies: Orientations = self.orientations(graph)
        if self.mode != "energy":
            return copies
        rounding = 8 * torch.finfo(self.dtype).eps
        return lowest_orientations(self._energies, graph, copies, rounding)

    def _energies(self, graph: Graph, copies: Orientations) -> Float[Tensor, " K"]:
        """Return the energies of turned copies, eV."""
        energies = []
        for part in self._parts(graph, copies):
            turned, _, _ = turned_copies(graph, part)
            result = self.backbone(turned)
            found = result.get("energy")
            if found is None:
                found = scatter_sum(result["atom_energy"].double(), turned.batch, len(turned))
            energies.append(found.double())
        return torch.cat(energies)

    def _parts(self, graph: Graph, copies: Orientations) -> list[Orientations]:
        """Return the copies in parts of about `EDGES` edges; all at once in training."""
        counts = graph.pointers[graph.offsets].diff()[copies.which]
        if self.training or int(counts.sum()) <= EDGES:
            return [copies]
        place = (counts.cumsum(0) - counts) // EDGES
        sizes = place.unique_consecutive(return_counts=True)[1].tolist()
        parts = zip(*(torch.split(values, sizes) for values in copies), strict=True)
        return [Orientations(*part) for part in parts]

    def _part(self, graph: Graph, copies: Orientations) -> Properties:
        """Return the share of some copies in the averages."""
        turned, atoms, _ = turned_copies(graph, copies)
        return self._averaged(graph, copies, self.backbone(turned), atoms)

    def _averaged(
        self, graph: Graph, copies: Orientations, result: Properties, atoms: Int[Tensor, " M"]
    ) -> Properties:
        """Return the weighted means, turned back, of what was found for the copies."""
        of_atom = torch.repeat_interleave(graph.n_atoms[copies.which])
        of_copy = torch.arange(len(copies.which), device=graph.device)
        found: dict[str, Tensor] = {}
        for name, value in cast(dict[str, Tensor], result).items():
            if name in self.backbone.provides & RANKS.keys():
                alone = SHAPES[name][0] == "B"
                copy, target = (of_copy, copies.which) if alone else (of_atom, atoms)
                turned = turned_back(value, copies.matrix[copy].to(value), RANKS[name])
                share = copies.weight[copy].to(value).view(-1, *[1] * (value.ndim - 1))
                size = len(graph) if alone else len(graph.species)
                found[name] = scatter_sum(share * turned, target, size)
        if self.mode == "orbit":
            distance = orbit_distance(copies.matrix) * copies.weight
            found["penalty"] = scatter_sum(distance, copies.which, len(graph))
        return cast(Properties, found)


def _sum(parts: Iterable[Properties]) -> Properties:
    """Return the sums of what parts of the copies contribute."""
    total: dict[str, Tensor] = {}
    for part in parts:
        for name, value in cast(dict[str, Tensor], part).items():
            total[name] = total[name] + value if name in total else value
    return cast(Properties, total)


def turned_copies(
    graph: Graph, copies: Orientations
) -> tuple[Graph, Int[Tensor, " M"], Int[Tensor, " D"]]:
    """Return turned copies of structures as one batch, and which atom and edge each row is of.

    Args:
        graph: Structures.
        copies: Orientations of the copies.
    """
    which = copies.which
    atoms = ranges(graph.offsets[which], graph.n_atoms[which])
    starts = graph.pointers[graph.offsets]
    edges = ranges(starts[which], starts.diff()[which])
    turned = graph.index(which.tolist())
    matrix = copies.matrix.to(turned.positions)
    positions = torch.einsum("nx,nxy->ny", turned.positions, matrix[turned.batch])
    return turned.replace(positions=positions, cell=turned.cell @ matrix), atoms, edges


def turned_back(
    value: Float[Tensor, "M *S"], matrix: Float[Tensor, "M 3 3"], rank: int
) -> Float[Tensor, "M *S"]:
    """Return scalars (rank 0), vectors (1) or matrices (2) of copies as those of the structures."""
    if rank == 1:
        return torch.einsum("mx,myx->my", value, matrix)
    return matrix @ value @ matrix.mT if rank == 2 else value


def _orientations(network: Symmetrized, grid: GridOrientations, reflections: bool) -> nn.Module:
    if network.mode in ("grid", "energy"):
        return grid
    if network.mode == "augmentation":
        return RandomOrientations(reflections)
    frames = FrameOrientations(grid, reflections, network.mode == "stochastic")
    if network.mode in ("frames", "stochastic"):
        return frames
    orthogonal = network.mode == "canonical"
    return LearnedOrientations(network.species, network.cutoff, frames, reflections, orthogonal)
