"""Options of ``matkit data``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from matkit.data.options import LabelOptions
from matkit.options import Options


class FilesOptions(LabelOptions):
    """What every command on data has."""

    struct: list[str] = Field(
        [], description="files with labelled structures, or one converted folder"
    )


class InspectOptions(FilesOptions):
    """Options of ``matkit data inspect``."""

    valid: list[str] = Field([], description="validation files: is anything in both?")
    test: list[str] = Field([], description="test files: is anything in both?")
    model: str | None = Field(
        None,
        description="model to start from: does it know all elements, and do a few labels agree?",
    )
    near: float = Field(
        0.05, gt=0, description="largest displacement of near duplicates in two sets, in Å"
    )
    out: str | None = Field(None, description="folder of histograms and report.json")


class ConvertOptions(FilesOptions):
    """Options of ``matkit data convert``."""

    out: str | None = Field(
        None, description="folder that is mapped into memory, or an extended XYZ file"
    )
    overwrite: bool = Field(False, description="replace the result if it is there")


class SplitOptions(FilesOptions):
    """Options of ``matkit data split``."""

    valid_fraction: float = Field(0.1, ge=0, lt=1, description="part for validation")
    test_fraction: float = Field(0.1, ge=0, lt=1, description="part for the test")
    by: Literal["group", "formula", "block", "random"] = Field(
        "group",
        description="what stays together: trajectories or formulas (group; one alone is cut into "
        "blocks), formulas, blocks of successive structures, or nothing",
    )
    seed: int = Field(0, ge=0, description="seed of the choice")
    out: str = Field(".", description="folder of train.extxyz, valid.extxyz and test.extxyz")
    overwrite: bool = Field(False, description="replace files that are there")

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> Self:
        both = self.valid_fraction + self.test_fraction
        if not 0 < both < 1:
            raise ValueError(
                f"valid_fraction and test_fraction must leave something to both sides, got {both}"
            )
        return self


class FitOptions(FilesOptions):
    """Options of ``matkit data fit-e0s``."""

    out: str | None = Field(None, description="JSON file of the energies, for --E0s")
    overwrite: bool = Field(False, description="replace the file if it is there")


class DownloadOptions(Options):
    """Options of ``matkit data download``."""

    set: str | None = Field(None, description="name of a published data set, e.g. perov-5")
    out: str | None = Field(None, description="folder of its files; by default the set's name")
    url: str | None = Field(
        None, description="address of a folder with copies of its files, such as a mirror"
    )
    overwrite: bool = Field(False, description="replace other files that are there")


DATA: dict[str, type[FilesOptions]] = {
    "inspect": InspectOptions,
    "convert": ConvertOptions,
    "split": SplitOptions,
    "fit-e0s": FitOptions,
}
OPTIONS: dict[str, type[Options]] = {f"data {name}": model for name, model in DATA.items()}
