"""Files of structures and folders of labels, some of them with Hessians."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from matkit.data.dataset import Dataset, read_dataset
from matkit.data.labels import LabelKeys
from matkit.errors import ConfigError, DataError
from matkit.interfaces import Potential
from matkit.train.hessian_targets import with_hessians
from matkit.train.options import LossOptions

if TYPE_CHECKING:
    from matkit.label.matrices import StoredMatrix

# Where the Hessians are, by the source of the structure.
Located = Mapping[str, "StoredMatrix"]


def read_labelled(
    paths: Sequence[str], keys: LabelKeys, format: str | None = None
) -> tuple[Dataset, Located]:
    """Read files of structures and folders that ``matkit label`` wrote.

    Args:
        paths: The files and folders.
        keys: Where labels are looked for.
        format: See `matkit.data.reading.entries_of`.

    Returns:
        The structures of all, and where their Hessians are.

    Raises:
        DataError: see `matkit.data.dataset.read_dataset`; or a folder holds no labels.
    """
    from matkit.label.matrices import label_files, locate_matrices

    files: list[str | Path] = []
    located: dict[str, StoredMatrix] = {}
    for path in paths:
        found = label_files(path)
        files += found or [path]
        located |= locate_matrices(path, "hessian") if found else {}
    return read_dataset(files, keys, format=format), located


def add_hessians(dataset: Dataset, located: Located, options: LossOptions) -> Dataset:
    """Return a set with the fields of its Hessians, if they have a weight.

    Raises:
        DataError: a Hessian is that of another number of atoms, or zero-point energies are to be
            learned of a periodic structure.
    """
    from matkit.label.matrices import stored_matrices

    if not (options.learns_hessians and len(dataset)):
        return dataset
    if options.hessian_zpe_weight and bool(dataset.structures.pbc.any()):
        raise DataError(
            "Expected molecules, since hessian_zpe_weight is not zero, got periodic structures. "
            "Set it to 0, or leave them out."
        )
    stored = stored_matrices(dataset, located, (3 * dataset.structures.n_atoms).tolist())
    matrices = (item.read() if item is not None else None for item in stored)
    more = options.hessian_modes_weight > 0, options.hessian_zpe_weight > 0
    return replace(dataset, structures=with_hessians(dataset.structures, matrices, *more))


def check_head(network: Potential, options: LossOptions) -> None:
    """Check that a network predicts Hessians if they are to be learned.

    Raises:
        ConfigError: it does not.
    """
    if options.learns_hessians and network.hessian_cutoff is None:
        raise ConfigError(
            f"hessian_weight and hessian_modes_weight need a model with a Hessian head, got "
            f"{type(network).__name__}. Take model: {{name: hip, backbone: ...}}, or set them to 0."
        )
