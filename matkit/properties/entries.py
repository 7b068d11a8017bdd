"""Structures with what files say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from matkit.properties.columns import Columns
from matkit.structures import Structures


@dataclass(frozen=True)
class PropertyEntries:
    """Structures of files.

    Attributes:
        structures: One batch of all.
        sources: Where each comes from, as ``data.csv[12]``.
        smiles: Canonical SMILES of each; empty where the file names none.
        columns: What the files say of them, by name; None where they say nothing.
        faults: What could not be used, and why.
    """

    structures: Structures
    sources: tuple[str, ...]
    smiles: tuple[str, ...]
    columns: Columns
    faults: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self.sources)

    def subset(self, which: Sequence[int]) -> PropertyEntries:
        """Return the structures numbered `which`, in that order."""
        return replace(
            self,
            structures=self.structures.index(which),
            sources=tuple(self.sources[i] for i in which),
            smiles=tuple(self.smiles[i] for i in which),
            columns={name: [values[i] for i in which] for name, values in self.columns.items()},
        )
