"""Steps of dynamics and relaxation as recorded CUDA graphs: one launch instead of hundreds.

A recording has fixed shapes and fixed addresses. Between neighbour searches the candidate edges
stay the same and only positions and cell are copied in; a new list of candidates is padded to one
of few lengths, so that few recordings serve a whole run.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from matkit.graph import Graph
from matkit.interfaces import Potential, Properties
from matkit.neighbors.padding import PaddedGraph, pad
from matkit.neighbors.verlet import VerletList
from matkit.structures import Structures

logger = logging.getLogger(__name__)

# What a recording returns, in this order.
KEYS = ("energy", "atom_energy", "forces", "stress")

COINCIDENT = 1e-12  # squared distance in Å² of atoms at the same place

RECORDINGS = 16  # kept at once
WARM_UPS = 2

# Largest difference from an ordinary evaluation, relative to the largest force or energy.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}

# From a function to what computes it again, and where its result then is.
Recorder = Callable[[Callable[[], Tensor]], tuple[Callable[[], Any], Tensor]]


class Recording(NamedTuple):
    """A function of a graph at fixed addresses.

    Attributes:
        graph: Where inputs are put.
        replay: Computes the results of what was put there.
        result: Where they then are, one after the other.
    """

    graph: PaddedGraph
    replay: Callable[[], Any]
    result: Tensor


class Replay:
    """Evaluates potentials of moving structures, always the same ones, by replaying recordings.

    Every recording is compared with an ordinary evaluation before it is used; if it cannot be
    made or differs, nothing is replayed any more and a warning says why.

    Args:
        potentials: Potentials with energy, forces and stress, on `device`.
        neighbors: Where candidate edges come from.
        device: Where to compute.
        record: How to record; `cuda_graphs` on a GPU.
    """

    def __init__(
        self,
        potentials: Sequence[Potential],
        neighbors: VerletList,
        device: torch.device,
        record: Recorder,
    ) -> None:
        self.potentials, self.neighbors, self.device = potentials, neighbors, device
        self.record = record
        self.works = True
        self.recordings: OrderedDict[tuple[Any, ...], Recording] = OrderedDict()
        self._weights = [weight for member in potentials for weight in member.parameters()]
        self._versions: list[int] = []
        self._loaded: tuple[Graph, Any, Recording] | None = None

    def __call__(self, structures: Structures) -> list[Properties] | None:
        """Return the results of every potential on the CPU, or None if they cannot be had.

        Args:
            structures: Batch, on the CPU.
        """
        if not self.works:
            return None
        candidates = self.neighbors.candidates(structures, self.device)
        if not len(candidates.center):
            return None
        try:
            recording = self._prepared(candidates, structures)
            if recording is None:
                return None
            recording.replay()
            flat = recording.result.cpu()  # the only wait of a step
        # Recording is beyond our control: drivers, memory, operations of a model.
        except Exception as problem:
            self._give_up(repr(problem))
            return None
        results = _unpacked(flat, structures, len(self.potentials))
        if _regular(results) and float(flat[-1]) >= COINCIDENT:
            return results
        # Coinciding atoms, or an edge too short for a table: the ordinary way knows what to do.
        self._loaded = None
        return None

    def _prepared(self, candidates: Graph, structures: Structures) -> Recording | None:
        """Return a recording with the structure's numbers put in, None if there can be none."""
        self._forget_old_weights()
        shapes = _shapes(structures)
        if self._loaded is None or self._loaded[:2] != (candidates, shapes):
            moved = structures.to(self.device)
            edges = {name: getattr(candidates, name) for name in ("center", "neighbor", "shift")}
            fields = {name: getattr(moved, name) for name in Structures._scopes()}
            graph = Graph(**fields, **edges, cutoff=candidates.cutoff)
            recording = self._recording(graph, shapes)
            if recording is None:
                return None
            self._loaded = candidates, shapes, recording
        recording = self._loaded[2]
        _copy(structures, recording.graph, ("positions", "cell", "atom", "system"))
        return recording

    def _recording(self, graph: Graph, shapes: Any) -> Recording | None:
        """Return a recording that holds a graph, a new one for new shapes."""
        padded = pad(graph)
        key = (shapes, len(padded.center))
        recording = self.recordings.get(key)
        if recording is None:
            return self._new_recording(padded, graph, key)
        self.recordings.move_to_end(key)
        _copy(padded, recording.graph, tuple(PaddedGraph._scopes()))
        return recording

    def _new_recording(self, padded: PaddedGraph, graph: Graph, key: Any) -> Recording | None:
        """Return a recording, compared with an ordinary evaluation and then kept.

        None if the first results are no numbers: they prove nothing.
        """
        static = padded.map(lambda tensor, _: tensor.clone())

        def forgetful() -> PaddedGraph:
            """Return a new object: one remembers what was computed from the old numbers."""
            return static.map(lambda tensor, _: tensor)

        recording = Recording(static, *self.record(lambda: self._evaluated(forgetful())))
        recording.replay()
        members = len(self.potentials)
        got = _unpacked(recording.result, graph, members)
        if not _regular(got):
            return None
        inside = graph.vectors.square().sum(dim=1) < self.neighbors.cutoff**2
        near = graph.keep_edges(inside).replace(cutoff=self.neighbors.cutoff)
        self._compare(got, _unpacked(self._evaluated(near), graph, members))
        self.recordings[key] = recording
        while len(self.recordings) > RECORDINGS:
            self.recordings.popitem(last=False)
        return recording

    def _compare(self, got: list[Properties], expected: list[Properties]) -> None:
        """Raise RuntimeError if results differ from those of an ordinary evaluation."""
        tolerance = max(TOLERANCE[member.dtype] for member in self.potentials)
        for new, old in zip(got, expected, strict=True):
            for key in KEYS:
                a, b = cast(dict[str, Tensor], new)[key], cast(dict[str, Tensor], old)[key]
                bound = tolerance * float(b.nan_to_num().abs().max().clamp(min=1))
                if not torch.allclose(a, b, rtol=0, atol=bound, equal_nan=True):
                    raise RuntimeError(f"{key} is not that of an ordinary evaluation")

    def _evaluated(self, graph: Graph) -> Tensor:
        """Return all results of all potentials and the smallest squared length of an edge [...]."""
        parts: list[Tensor] = []
        for member in self.potentials:
            result = cast(dict[str, Tensor], member(graph))
            parts += [result[key].detach().double().flatten() for key in KEYS]
        return torch.cat([*parts, graph.vectors.square().sum(dim=1).amin(dim=0, keepdim=True)])

    def _forget_old_weights(self) -> None:
        versions = [weight._version for weight in self._weights]
        if versions != self._versions:
            self._versions, self._loaded = versions, None
            self.recordings.clear()

    def _give_up(self, problem: str) -> None:
        self.works, self._loaded = False, None
        self.recordings.clear()
        logger.warning("Steps are not recorded as CUDA graphs but computed one by one: %s", problem)


def cuda_graphs(device: torch.device) -> Recorder:
    """Return a function that records others on a GPU; they share one pool of memory.

    That is safe because a result is copied out before the next recording runs.
    """
    pool: Any = torch.cuda.graph_pool_handle()

    def record(function: Callable[[], Tensor]) -> tuple[Callable[[], Any], Tensor]:
        with torch.cuda.device(device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):  # compiles kernels
                    function()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                result = function()
        return graph.replay, result

    return record


def _regular(results: list[Properties]) -> bool:
    """Return whether all forces are numbers."""
    return all(bool(result["forces"].isfinite().all()) for result in results)


def _shapes(structures: Structures) -> Any:
    return tuple((name, tensor.shape, tensor.dtype) for name, _, tensor in structures._tensors())


def _copy(source: Structures, target: Structures, names: Sequence[str]) -> None:
    for name in names:
        new, old = getattr(source, name), getattr(target, name)
        if new is None:
            continue
        pairs = [(new, old)] if isinstance(new, Tensor) else [(new[k], old[k]) for k in new]
        for value, place in pairs:
            place.copy_(value, non_blocking=True)


def _unpacked(flat: Tensor, structures: Structures, members: int) -> list[Properties]:
    results = []
    systems, n_atoms = len(structures), len(structures.species)
    for part in flat[:-1].view(members, -1):
        energy, atoms, forces, stress = part.split([systems, n_atoms, 3 * n_atoms, 9 * systems])
        results.append(
            Properties(
                energy=energy,
                atom_energy=atoms,
                forces=forces.view(-1, 3),
                stress=stress.view(-1, 3, 3),
            )
        )
    return results
