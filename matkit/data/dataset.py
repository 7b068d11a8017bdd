"""Labelled structures, read once and used by training, evaluation and the checks of data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from matkit.conditions import NEUTRAL, ignored_conditions, refuse_ignored
from matkit.data.cached import Located, is_folder, load_folder
from matkit.data.collecting import COLUMNS, Collector, Column, Memory, Names
from matkit.data.groups import reduced_formula
from matkit.data.labels import LABELS, LabelCount, LabelKeys, LabelReport
from matkit.data.opening import locate
from matkit.data.reading import entries_of, refusal
from matkit.errors import DataError
from matkit.structures import Structures

# What `config_type` calls isolated atoms: `IsolatedAtom`, `isolated_atom`, `isolated-atom`, ...
ISOLATED = "isolatedatom"
# A periodic atom is isolated if its images are at least this far away, in Å.
ISOLATED_DISTANCE = 10.0
DEFAULT_KEYS = LabelKeys()
Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Dataset:
    """Labelled structures.

    Attributes:
        structures: One batch of all, float64, with `energy` (eV) and `stress` (eV/Å³) in
            `system` and `forces` (eV/Å) in `atom`, NaN where missing; with `charge` and `spin`
            if every structure has them.
        config_types: ``info["config_type"]`` of each, `Default` where there is none.
        groups: What a split keeps together: trajectory or group, else the reduced formula.
        sources: Where each comes from, as ``data.xyz[12]``.
        label_report: Which labels there are and where they were.
    """

    structures: Structures
    config_types: tuple[str, ...]
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    label_report: LabelReport

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self.sources)

    @cached_property
    def formulas(self) -> tuple[str, ...]:
        """Reduced formula of each structure."""
        offsets, species = self.structures.offsets.tolist(), self.structures.species.numpy()
        return tuple(reduced_formula(species[first:last]) for first, last in pairwise(offsets))

    def subset(self, which: Sequence[int]) -> Dataset:
        """Return the structures numbered `which`, in that order."""
        part = self.structures.index(which)
        return Dataset(
            part,
            tuple(self.config_types[i] for i in which),
            tuple(self.groups[i] for i in which),
            tuple(self.sources[i] for i in which),
            _recount(self.label_report, part),
        )

    def isolated_indices(self) -> list[int]:
        """Return the isolated atoms: said to be, without cell, or in a large one."""
        single = self.structures.n_atoms == 1
        if not bool(single.any()):
            return []
        spread = _image_distance(self.structures) >= ISOLATED_DISTANCE
        named = torch.tensor([_is_isolated(kind) for kind in self.config_types])
        return (single & (spread | named)).nonzero().flatten().tolist()

    def isolated(self) -> dict[int, float]:
        """Return the energies in eV of isolated atoms, by atomic number."""
        structures, found = self.structures, {}
        for i in self.isolated_indices():
            energy = float(structures.system["energy"][i])
            if energy == energy:
                found[int(structures.species[structures.offsets[i]])] = energy
        return dict(sorted(found.items()))

    def without_isolated(self) -> Dataset:
        """Return the structures that are not isolated atoms."""
        isolated = set(self.isolated_indices())
        if not isolated:
            return self
        return self.subset([i for i in range(len(self)) if i not in isolated])


def read_dataset(
    paths: Paths,
    keys: LabelKeys = DEFAULT_KEYS,
    problems: list[str] | None = None,
    format: str | None = None,
) -> Dataset:
    """Read labelled structures.

    Args:
        paths: Files (see `matkit.data.reading.entries_of`) or folders written by
            `matkit.data.cached.convert`; a single folder is mapped into memory, not read.
        keys: Where labels are looked for; one place is used for each label of all files.
        problems: What is wrong with single structures is added here and they, or their wrong
            labels, are left out; None raises.
        format: See `matkit.data.reading.entries_of`.

    Raises:
        DataError: a file cannot be read, a label is NaN or has an impossible shape, or a key
            that was asked for is nowhere.
        StructureError: a structure cannot be used.
    """
    many = _listed(paths)
    if any(is_folder(path) for path in many):
        return dataset_of(*_load_only(many, keys))
    return _collected(located_atoms(many, format, problems), keys, problems)


def read_usable(
    paths: Paths, keys: LabelKeys = DEFAULT_KEYS, format: str | None = None
) -> tuple[Dataset, list[str]]:
    """Read labelled structures and leave out what cannot be read, but no wrong label.

    Args:
        paths: As for `read_dataset`.
        keys: As for `read_dataset`.
        format: As for `read_dataset`.

    Returns:
        The structures that can be used, and why the other entries cannot.

    Raises:
        DataError: as `read_dataset`, or no entry can be used.
    """
    many = _listed(paths)
    if any(is_folder(path) for path in many):
        return dataset_of(*_load_only(many, keys)), []
    unread: list[str] = []
    located = located_atoms(many, format, unread)
    first = next(located, None)
    if first is None:
        raise DataError(f"Expected structures, got none. {' '.join(unread[:1])}")
    return _collected(chain([first], located), keys), unread


def _listed(paths: Paths) -> list[Path]:
    return [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]


def _collected(
    located: Iterable[Located], keys: LabelKeys, problems: list[str] | None = None
) -> Dataset:
    memory = Memory()
    collector = Collector(memory, keys, problems)
    for atoms, file, index in located:
        collector.add(atoms, file, index)
    chosen, names, found = collector.finish()
    labels = {name: memory.column(column) for name, column in chosen.items() if column is not None}
    return dataset_of({name: memory.column(name) for name in COLUMNS} | labels, names, found)


def located_atoms(
    paths: Iterable[str | Path], format: str | None = None, problems: list[str] | None = None
) -> Iterator[Located]:
    """Give the structures of several files, each with its file and its place in the file.

    Args:
        paths: Files, see `matkit.data.reading.entries_of`.
        format: See `matkit.data.reading.entries_of`.
        problems: What is wrong with entries that cannot be used is added here; None raises.

    Raises:
        DataError: a file cannot be read, or an entry not be used and `problems` is None.
    """
    for path in paths:
        file = str(locate(path)[0])
        for entry in entries_of(path, format):
            if entry.atoms is not None:
                yield entry.atoms, file, entry.index
            elif problems is None:
                raise DataError(refusal(path, entry))
            else:
                problems.append(refusal(path, entry))


def _load_only(
    paths: Sequence[Path], keys: LabelKeys
) -> tuple[dict[str, Column], Names, LabelReport]:
    """Map one folder.

    Raises:
        DataError: there is more than the folder, or a key that could only be used before.
    """
    if len(paths) > 1:
        raise DataError(
            f"Expected files, or one converted folder alone; got {', '.join(map(str, paths))}. "
            "Convert all files together."
        )
    if keys != DEFAULT_KEYS:
        raise DataError(
            f"The labels of the folder {paths[0]} have been chosen already, so that keys, unit and "
            "sign have no effect. Give them to `matkit data convert` instead."
        )
    return load_folder(paths[0])


def dataset_of(columns: Mapping[str, Column], names: Names, found: LabelReport) -> Dataset:
    """Return the data set of columns, which it shares."""
    tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
    n_systems, n_atoms = len(tensors["n_atoms"]), len(tensors["species"])
    missing = {
        "energy": torch.full((n_systems,), torch.nan, dtype=torch.float64),
        "forces": torch.full((n_atoms, 3), torch.nan, dtype=torch.float64),
        "stress": torch.full((n_systems, 3, 3), torch.nan, dtype=torch.float64),
    }
    labels = {label: tensors.get(label, missing[label]) for label in LABELS}
    structures = Structures(
        positions=tensors["positions"],
        species=tensors["species"],
        cell=tensors["cell"],
        pbc=tensors["pbc"],
        n_atoms=tensors["n_atoms"],
        atom={"forces": labels["forces"]},
        system={
            **{name: labels[name] for name in ("energy", "stress")},
            **{
                name: tensors[name].nan_to_num(nan=neutral)
                for name, neutral in NEUTRAL.items()
                if name in tensors
            },
        },
    )
    kinds, groups = (names.look_up(name, columns[name]) for name in ("config_type", "group"))
    files = names.look_up("file", columns["file"])
    sources = zip(files, columns["index"].tolist(), strict=True)
    return Dataset(structures, kinds, groups, tuple(f"{file}[{i}]" for file, i in sources), found)


def _is_isolated(kind: str) -> bool:
    return "".join(filter(str.isalpha, kind)).lower().removesuffix("s") == ISOLATED


def _image_distance(structures: Structures) -> Float[Tensor, " B"]:
    """Return a lower bound of the distance of an atom to its own periodic images [B], in Å.

    It is the smallest distance of two lattice planes along a periodic direction; infinite without.
    """
    open_directions = ~structures.pbc.unsqueeze(2)
    # Any vector will do where there are no images; those of the cell may be zero.
    unit = 1e9 * torch.eye(3, dtype=torch.float64)
    cell = torch.where(
        open_directions & (structures.cell == 0).all(2, keepdim=True), unit, structures.cell
    )
    heights = 1 / torch.linalg.pinv(cell).norm(dim=1)
    return torch.where(structures.pbc, heights, torch.inf).amin(dim=1)


def ignored_in(dataset: Dataset, conditions: Collection[str], allowed: bool) -> list[str]:
    """Return what is to be said of charges and multiplicities that a model leaves out of account.

    Args:
        dataset: Structures.
        conditions: What the model takes into account.
        allowed: Whether that is allowed (`--ignore-charge`).

    Raises:
        IgnoredConditionError: it is not, and there are some.
    """
    if not allowed:
        refuse_ignored(dataset.structures, conditions, dataset.sources)
    found = ignored_conditions(dataset.structures, conditions)
    counts = Counter(found.values())
    return [f"{text} ignored ({count} structures)" for text, count in counts.items()]


def has_label(structures: Structures, label: str) -> Bool[Tensor, " B"]:
    """Return which structures [B] carry a label."""
    if label != "forces":
        lost = structures.system[label].isnan()
        return ~(lost.flatten(1).any(dim=1) if lost.ndim > 1 else lost)
    lacking = structures.atom["forces"].isnan().any(dim=1).double()
    count = lacking.new_zeros(len(structures)).index_add(0, structures.batch, lacking)
    return count == 0


def _recount(report: LabelReport, part: Structures) -> LabelReport:
    counts = {label: int(has_label(part, label).sum()) for label in LABELS}
    energy, forces, stress = (LabelCount(getattr(report, x).key, counts[x]) for x in LABELS)
    return LabelReport(len(part), energy, forces, stress, keys=report.keys)
