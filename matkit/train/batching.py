"""Which structures come together in which step, and the graphs of these batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from matkit.data.dataset import Dataset
from matkit.data.response_pairs import ALONE, pair_numbers
from matkit.graph import Graph
from matkit.interfaces import Potential
from matkit.structures import Structures

ItemT = TypeVar("ItemT", bound=Structures)

# Edges of a whole set that are kept in memory (40 bytes each); beyond, batches search anew.
KEPT_EDGES = 40_000_000

# Batches of a process among which structures are sorted by size.
WINDOW = 32


class GraphSet(TorchDataset[Graph]):
    """Graphs of any structures of a set, asked for by their numbers.

    Args:
        potential: Potential whose graphs they are.
        structures: Labelled structures.
    """

    def __init__(self, potential: Potential, structures: Structures) -> None:
        self.potential, self.structures = potential, structures
        potential.check_species(structures)
        self.n_edges, self.graph = self._search()

    def _search(self) -> tuple[np.ndarray, Graph | None]:
        """Return the number of edges of each structure [B] and, if they fit, all graphs as one."""
        graphs: list[Graph] = []
        counts, total, n = [], 0, len(self.structures)
        for start in range(0, n, 64):
            part = self.structures.index(range(start, min(start + 64, n)))
            graph = self.potential.featurize(part)
            counts.append(graph.pointers[graph.offsets[1:]] - graph.pointers[graph.offsets[:-1]])
            total += len(graph.center)
            graphs = [*graphs, graph] if total <= KEPT_EDGES else []
        whole = join(graphs, self.structures) if total <= KEPT_EDGES else None
        return torch.cat(counts).numpy(), whole

    @property
    def pairs(self) -> np.ndarray | None:
        """Number of the pair that each structure [B] is of, where they have one."""
        numbers = self.structures.system.get("pair")
        return None if numbers is None else numbers.numpy()

    def __len__(self) -> int:
        return len(self.structures)

    def __getitem__(self, which: Sequence[int]) -> Graph:
        if self.graph is not None:
            return self.graph.index(which)
        return self.potential.featurize(self.structures.index(which))


def join(graphs: Sequence[Graph], structures: Structures) -> Graph:
    """Return the graphs of consecutive parts of `structures` as the graph of all of them."""
    first = np.cumsum([0, *(len(graph.species) for graph in graphs)])
    return Graph(
        positions=structures.positions,
        species=structures.species,
        cell=structures.cell,
        pbc=structures.pbc,
        n_atoms=structures.n_atoms,
        atom=structures.atom,
        system=structures.system,
        bonds=structures.bonds,
        bond=structures.bond,
        center=torch.cat([g.center + int(i) for g, i in zip(graphs, first, strict=False)]),
        neighbor=torch.cat([g.neighbor + int(i) for g, i in zip(graphs, first, strict=False)]),
        shift=torch.cat([graph.shift for graph in graphs]),
        cutoff=graphs[0].cutoff,
    )


class Batches(Sampler[list[int]]):
    """Batches of structures of similar size, in an order that `seed` and epoch determine.

    With several processes each gets every n-th batch, and all the same number of them. In a step
    all get batches of similar size, since each waits for the slowest.

    Attributes:
        skip: Batches at the beginning of the next pass that were done before.

    Args:
        sizes: Edges of every structure [B], or what else its cost grows with.
        batch_size: Most structures in a batch.
        max_edges: Most edges in a batch, None for any; a larger structure is a batch of its own.
        seed: Seed of the order; None keeps the order of the set.
        processes: Rank of this process and number of processes.
        pairs: Number of the pair that each structure [B] is of, which come in the same batch, even
            if that is too large then; -1 of none.
    """

    def __init__(
        self,
        sizes: np.ndarray,
        batch_size: int,
        max_edges: int | None = None,
        seed: int | None = None,
        processes: tuple[int, int] = (0, 1),
        pairs: np.ndarray | None = None,
    ) -> None:
        self.units = units_of(len(sizes), pairs)
        self.sizes = np.array([sizes[unit].sum() for unit in self.units])
        self.batch_size, self.max_edges = batch_size, max_edges
        self.seed, self.processes = seed, processes
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch, self.skip = epoch, 0

    def __len__(self) -> int:
        return len(self._mine(self._all()))

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._mine(self._all())[self.skip :])

    def _mine(self, batches: list[list[int]]) -> list[list[int]]:
        rank, count = self.processes
        if self.seed is None:
            return batches[rank::count]
        missing = -len(batches) % count
        return (batches + batches[:missing])[rank::count]

    def _all(self) -> list[list[int]]:
        if self.seed is None:
            return self._cut(np.arange(len(self.sizes)))
        rng, together = np.random.default_rng((self.seed, self.epoch)), self.processes[1]
        order, batches = rng.permutation(len(self.sizes)), []
        wide = WINDOW * self.batch_size * together
        for start in range(0, len(order), wide):
            window = order[start : start + wide]
            batches += self._cut(window[np.argsort(self.sizes[window], kind="stable")])
        steps = [batches[i : i + together] for i in range(0, len(batches), together)]
        steps = [steps[i] for i in rng.permutation(len(steps))]
        # The one that may be short comes last, where others are repeated for it.
        steps.sort(key=lambda step: len(step) < together)
        return [batch for step in steps for batch in step]

    def _cut(self, order: np.ndarray) -> list[list[int]]:
        batches: list[list[int]] = []
        edges = 0
        for i in order.tolist():
            unit = self.units[i]
            full = self.max_edges is not None and edges + self.sizes[i] > self.max_edges
            if not batches or full or len(batches[-1]) + len(unit) > self.batch_size:
                batches.append([])
                edges = 0
            batches[-1] += unit
            edges += int(self.sizes[i])
        return batches


def units_of(count: int, pairs: np.ndarray | None) -> list[list[int]]:
    """Return the structures that come together: those of each pair, and each other one alone."""
    units: dict[int, list[int]] = {}
    numbers = [ALONE] * count if pairs is None else pairs.tolist()
    for i, number in enumerate(numbers):
        units.setdefault(i if number == ALONE else number, []).append(i)
    return list(units.values())


def loader(
    dataset: TorchDataset[ItemT], batches: Batches, num_workers: int = 0
) -> DataLoader[ItemT]:
    """Return an iterable of batches of a set that takes several numbers at once."""
    return DataLoader(
        dataset,
        sampler=batches,
        batch_size=None,
        num_workers=num_workers,
        persistent_workers=False,
    )


def weighted(
    dataset: Dataset, weights: Mapping[str, float], factor: float = 1.0, first: int = 0
) -> Structures:
    """Return the structures with `weight` by config_type and their number as fields.

    ``system["index"]`` says which structure of the set it is, for messages, and ``system["pair"]``
    which pair it is of, see `matkit.data.response_pairs`.

    Args:
        dataset: Structures.
        weights: Weight of a config_type; 1 where not named.
        factor: What all weights are multiplied by.
        first: Number of the first structure.
    """
    structures = dataset.structures
    values = [factor * weights.get(name, 1.0) for name in dataset.config_types]
    pairs = pair_numbers(dataset)
    extra = {
        "pair": torch.where(pairs == ALONE, ALONE, pairs + first),
        "weight": torch.tensor(values, dtype=torch.float64),
        "index": torch.arange(first, first + len(dataset)),
    }
    return structures.replace(system={**structures.system, **extra})
