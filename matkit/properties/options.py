"""Options of predicting properties: the one place where defaults and their meaning are written."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from matkit.options import Panel, Panels, ReadingOptions


class PredictOptions(ReadingOptions):
    """Options of ``matkit predict``."""

    panels: ClassVar[Panels] = {Panel.RUN: ("device", "overwrite")}

    model: str | None = Field(
        None,
        description="file of a network of properties; several with commas, or a pattern of files, "
        "make a committee",
    )
    struct: list[str] = Field(
        [], description="structures in any format ASE reads, CSV with SMILES or CIF texts, SDF"
    )
    table: str | None = Field(
        None, description="CSV with values of structures that its first column names by their files"
    )
    out: str = Field("predictions.csv", description="file of the predictions")
    device: str = Field("auto", description="cpu, cuda, cuda:1, ...; auto takes the GPU if any")
    overwrite: bool = Field(False, description="replace a file that is already there")
