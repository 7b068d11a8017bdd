"""Options of `descriptors`: the one place where defaults and their meaning are written."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from matkit.models.shipped import DEFAULT_POTENTIAL
from matkit.options import IGNORE_CHARGE, Options, Panel, Panels, ReadingOptions


class DescriptorsOptions(Options):
    """Options of `descriptors`."""

    panels: ClassVar[Panels] = {Panel.ADVANCED: ("batch_atoms",)}

    per: Literal["atom", "structure"] = Field(
        "structure", description="descriptors of every atom, or their mean over each structure"
    )
    batch_atoms: int = Field(
        2000, ge=1, description="atoms computed together, at most, which bounds the memory"
    )


class DescriptorsConfig(DescriptorsOptions, ReadingOptions):
    """Options of ``matkit descriptors``."""

    panels: ClassVar[Panels] = {
        Panel.RUN: ("device", "dtype", "overwrite"),
        Panel.ADVANCED: ("ignore_charge",),
    }

    struct: list[str] = Field([], description="files of structures, in any format ASE reads")
    out: str = Field("descriptors.npz", description="file to write: *.npz, *.extxyz or *.parquet")
    model: str = Field(DEFAULT_POTENTIAL, description="model name or file")
    device: str = Field("auto", description="cpu, cuda, cuda:1, ...; auto takes the GPU if any")
    dtype: Literal["float32", "float64"] = Field(
        "float32", description="precision of the model's arithmetic"
    )
    ignore_charge: bool = IGNORE_CHARGE
    overwrite: bool = Field(False, description="replace a file that is already there")
