"""Frozen batches whose fields declare once what they have a row for.

Slicing, joining and moving are then the same few lines for all fields of all types of batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, ClassVar, Self, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from matkit.errors import StructureError

ScopedT = TypeVar("ScopedT", bound="Scoped")


def scoped(scope: str, *, points: bool = False, **kwargs: Any) -> Any:
    """Declare a dataclass field that holds one row per `scope`.

    Args:
        scope: `system`, `atom`, or another one, whose rows belong to the structure of the atoms
            that they point at.
        points: Whether the field holds indices of atoms.
        **kwargs: Of `dataclasses.field`.
    """
    return field(metadata={"scope": scope, "points": points}, **kwargs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scoped:
    """A batch of B structures with N atoms in all.

    Attributes:
        species: Atomic numbers [N].
        n_atoms: Atoms in each structure [B].
    """

    species: Int[Tensor, " N"] = scoped("atom")
    n_atoms: Int[Tensor, " B"] = scoped("system")
    # By scope the field with indices of atoms that says which structure a row belongs to. Rows
    # are in the order of the structures.
    owners: ClassVar[dict[str, str]] = {}

    def __post_init__(self) -> None:
        """Check that every field has the number of rows its scope asks for."""
        # Shapes, because `len` of a tensor goes through Python, for every structure that is made.
        rows = {"atom": self.species.shape[0], "system": self.n_atoms.shape[0]}
        for scope, owner in self.owners.items():
            value = getattr(self, owner)
            rows[scope] = 0 if value is None else value.shape[0]
        for name, scope, tensor in self._tensors():
            if scope in rows and tensor.shape[0] != rows[scope]:
                raise StructureError(
                    f"`{name}` must have one row per {scope}, {rows[scope]}; got {len(tensor)}."
                )

    @classmethod
    @cache  # asked for by every structure that is made
    def _scopes(cls) -> dict[str, str]:
        return {f.name: f.metadata["scope"] for f in dataclasses.fields(cls) if f.metadata}

    @classmethod
    @cache
    def _pointers_to_atoms(cls) -> list[str]:
        return [f.name for f in dataclasses.fields(cls) if f.metadata.get("points")]

    def _tensors(self) -> Iterator[tuple[str, str, Tensor]]:
        for name, scope in self._scopes().items():
            value = getattr(self, name)
            if isinstance(value, Tensor):
                yield name, scope, value
            elif value is not None:
                yield from ((f"{name}[{key!r}]", scope, item) for key, item in value.items())

    def map(self, function: Callable[[Tensor, str], Tensor]) -> Self:
        """Return a copy with ``function(tensor, scope)`` in the place of every tensor."""
        changed: dict[str, Any] = {}
        for name, scope in self._scopes().items():
            value = getattr(self, name)
            if isinstance(value, Tensor):
                changed[name] = function(value, scope)
            elif value is not None:
                changed[name] = {key: function(item, scope) for key, item in value.items()}
        return dataclasses.replace(self, **changed)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return a copy on `device`."""
        return self.map(lambda tensor, _: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return a copy in page-locked memory, for asynchronous transfer to a GPU."""
        return self.map(lambda tensor, _: tensor.pin_memory())

    def __len__(self) -> int:
        """Return the number of structures B."""
        return len(self.n_atoms)

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        return self.species.device

    @cached_property
    def batch(self) -> Int[Tensor, " N"]:
        """Structure index of every atom [N]."""
        index = torch.arange(len(self), device=self.device)
        return torch.repeat_interleave(index, self.n_atoms, output_size=len(self.species))

    @cached_property
    def offsets(self) -> Int[Tensor, " B_plus_1"]:
        """Index of the first atom of every structure, closed by N [B+1]."""
        return torch.nn.functional.pad(torch.cumsum(self.n_atoms, 0), (1, 0))

    def split(self) -> list[Self]:
        """Return the structures of the batch as batches of one."""
        return [self.index([i]) for i in range(len(self))]

    def index(self, which: Sequence[int]) -> Self:
        """Return the batch of the structures numbered `which`, in that order, atoms renumbered."""
        chosen = torch.as_tensor(list(which), dtype=torch.long, device=self.device)
        rows = {"system": chosen, "atom": ranges(self.offsets[chosen], self.n_atoms[chosen])}
        counts = {scope: torch.diff(self._starts(scope))[chosen] for scope in self.owners}
        for scope, count in counts.items():
            rows[scope] = ranges(self._starts(scope)[chosen], count)
        part = self.map(lambda tensor, scope: tensor[rows[scope]])
        moved = part.offsets[:-1] - self.offsets[chosen]
        return part._renumbered({s: moved.repeat_interleave(c) for s, c in counts.items()})

    def _renumbered(self, moves: Mapping[str, Tensor]) -> Self:
        """Return a copy with the indices of atoms in every scope moved by so many [rows]."""
        changed: dict[str, Any] = {}
        for name in self._pointers_to_atoms():
            value = getattr(self, name)
            if value is not None:
                move = moves[self._scopes()[name]]
                changed[name] = value + move.view(-1, *[1] * (value.ndim - 1))
        return dataclasses.replace(self, **changed) if changed else self

    def _starts(self, scope: str) -> Int[Tensor, " B_plus_1"]:
        """Return the first row of every structure in a scope, closed by their number [B+1]."""
        owner = getattr(self, self.owners[scope])
        if owner is None:
            return torch.zeros_like(self.offsets)
        atoms = owner if owner.ndim == 1 else owner[:, 0]
        count = torch.bincount(self.batch[atoms], minlength=len(self))
        return torch.nn.functional.pad(torch.cumsum(count, 0), (1, 0))


def ranges(start: Tensor, count: Tensor) -> Tensor:
    """Return ``concatenate([arange(s, s + c) for s, c in zip(start, count)])``."""
    total = int(count.sum())
    first = torch.repeat_interleave(torch.cumsum(count, 0) - count, count, output_size=total)
    step = torch.arange(total, device=count.device) - first
    return torch.repeat_interleave(start, count, output_size=total) + step


def cat(batches: Sequence[ScopedT]) -> ScopedT:
    """Join batches into one; optional fields must be present in all or in none.

    Raises:
        StructureError: no batch was given, or the batches carry different optional fields.
    """
    if not batches:
        raise StructureError("Expected at least one structure to batch, got an empty sequence.")
    first = batches[0]
    joined = {name: _cat(name, [getattr(b, name) for b in batches]) for name in first._scopes()}
    for name in first._pointers_to_atoms():
        if joined[name] is not None:
            joined[name] = torch.cat(list(_moved([getattr(b, name) for b in batches], batches)))
    return dataclasses.replace(first, **joined)


def _moved(indices: Sequence[Tensor], batches: Sequence[Scoped]) -> Iterator[Tensor]:
    start = 0
    for index, batch in zip(indices, batches, strict=True):
        yield index + start
        start += len(batch.species)


def _cat(name: str, values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        return _cat_dicts(name, values)
    lacking = [i for i, value in enumerate(values) if value is None]
    if len(lacking) == len(values):
        return None
    if lacking:
        raise StructureError(
            f"All structures of a batch must have `{name}`, or none of them; item {lacking[0]} of "
            f"{len(values)} has none."
        )
    return torch.cat(list(values))


def _cat_dicts(name: str, values: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    keys = set(values[0])
    for i, value in enumerate(values):
        if set(value) != keys:
            raise StructureError(
                f"All structures of a batch must carry the same `{name}` fields: expected "
                f"{sorted(keys)}, got {sorted(value)} in item {i}."
            )
    return {key: torch.cat([value[key] for value in values]) for key in values[0]}
