"""The one structure type: a frozen batch of atomic structures.

Every field declares its scope once (per atom, per edge or per system); slicing, joining and
moving are then the same few lines for all of them, in subclasses too.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.errors import StructureError

SCOPES = ("atom", "edge", "system")


def scoped(scope: str, **kwargs: Any) -> Any:
    """Declare a dataclass field that holds one row per `scope`."""
    return field(metadata={"scope": scope}, **kwargs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Structures:
    """A batch of B structures with N atoms in all; one structure is a batch of one.

    Attributes:
        positions: Cartesian coordinates [N, 3], Å, float64.
        species: Atomic numbers [N]; 0 is a masked atom.
        cell: Lattice vectors as rows [B, 3, 3], Å, float64; zero rows where there are none.
        pbc: Periodicity along each lattice vector [B, 3].
        n_atoms: Atoms in each structure [B].
        atom: Further per-atom tensors [N, ...], such as `forces` in eV/Å.
        system: Further per-structure tensors [B, ...], such as `energy` in eV, `stress` in
            eV/Å³ (positive in tension), `charge` in e, `spin` = multiplicity 2S+1.
    """

    positions: Float[Tensor, "N 3"] = scoped("atom")
    species: Int[Tensor, " N"] = scoped("atom")
    cell: Float[Tensor, "B 3 3"] = scoped("system")
    pbc: Bool[Tensor, "B 3"] = scoped("system")
    n_atoms: Int[Tensor, " B"] = scoped("system")
    atom: Mapping[str, Tensor] = scoped("atom", default_factory=dict)
    system: Mapping[str, Tensor] = scoped("system", default_factory=dict)

    def __post_init__(self) -> None:
        """Check that every field has the number of rows its scope asks for."""
        rows = {"atom": len(self.species), "system": len(self.n_atoms)}
        for name, scope, tensor in self._tensors():
            if scope in rows and len(tensor) != rows[scope]:
                raise StructureError(
                    f"`{name}` must have one row per {scope}, {rows[scope]}; got {len(tensor)}."
                )

    @classmethod
    def _scopes(cls) -> dict[str, str]:
        return {f.name: f.metadata["scope"] for f in dataclasses.fields(cls) if f.metadata}

    def _tensors(self) -> Iterator[tuple[str, str, Tensor]]:
        for name, scope in self._scopes().items():
            value = getattr(self, name)
            if isinstance(value, Tensor):
                yield name, scope, value
            else:
                yield from ((f"{name}[{key!r}]", scope, item) for key, item in value.items())

    def map(self, function: Callable[[Tensor, str], Tensor]) -> Self:
        """Return a copy with ``function(tensor, scope)`` in the place of every tensor."""
        changed: dict[str, Any] = {}
        for name, scope in self._scopes().items():
            value = getattr(self, name)
            if isinstance(value, Tensor):
                changed[name] = function(value, scope)
            else:
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
        return self.positions.device

    @cached_property
    def batch(self) -> Int[Tensor, " N"]:
        """Structure index of every atom [N]."""
        index = torch.arange(len(self), device=self.device)
        return torch.repeat_interleave(index, self.n_atoms, output_size=len(self.species))

    @cached_property
    def offsets(self) -> Int[Tensor, " B_plus_1"]:
        """Index of the first atom of every structure, closed by N [B+1]."""
        return torch.nn.functional.pad(torch.cumsum(self.n_atoms, 0), (1, 0))

    @property
    def volume(self) -> Float[Tensor, " B"]:
        """Cell volumes [B] in Å³; zero where a cell vector is missing."""
        a, b, c = self.cell.unbind(dim=1)
        return (torch.linalg.cross(a, b) * c).sum(dim=1).abs()

    def split(self) -> list[Self]:
        """Return the structures of the batch as batches of one."""
        return [self.index([i]) for i in range(len(self))]

    def index(self, which: Sequence[int]) -> Self:
        """Return the batch of the structures numbered `which`, in that order."""
        rows = self._rows(torch.as_tensor(list(which), dtype=torch.long, device=self.device))
        return self.map(lambda tensor, scope: tensor[rows[scope]])

    def _rows(self, which: Tensor) -> dict[str, Tensor]:
        """Return the rows of each scope that belong to the structures `which`."""
        return {"system": which, "atom": _ranges(self.offsets[which], self.n_atoms[which])}


def _ranges(start: Tensor, count: Tensor) -> Tensor:
    """Return ``concatenate([arange(s, s + c) for s, c in zip(start, count)])``."""
    total = int(count.sum())
    first = torch.repeat_interleave(torch.cumsum(count, 0) - count, count, output_size=total)
    step = torch.arange(total, device=count.device) - first
    return torch.repeat_interleave(start, count, output_size=total) + step


def cat(batches: Sequence[Structures]) -> Structures:
    """Join batches into one; optional fields must be present in all or in none.

    Raises:
        StructureError: no batch was given, or the batches carry different optional fields.
    """
    if not batches:
        raise StructureError("Expected at least one structure to batch, got an empty sequence.")
    joined: dict[str, Any] = {}
    for name in Structures._scopes():
        values = [getattr(batch, name) for batch in batches]
        if isinstance(values[0], Tensor):
            joined[name] = torch.cat(values)
        else:
            joined[name] = _cat_dicts(name, values)
    return Structures(**joined)


def _cat_dicts(name: str, values: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    keys = set(values[0])
    for i, value in enumerate(values):
        if set(value) != keys:
            raise StructureError(
                f"All structures of a batch must carry the same `{name}` fields: expected "
                f"{sorted(keys)}, got {sorted(value)} in item {i}."
            )
    return {key: torch.cat([value[key] for value in values]) for key in values[0]}
