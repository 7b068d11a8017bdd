"""Options of evaluation: the one place where defaults and their meaning are written."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from matkit.data.options import LabelOptions
from matkit.options import IGNORE_CHARGE, DispersionOptions, Panel, Panels

# Beginning of the names of predictions in files.
PREFIX = "matkit_"


class EvaluateOptions(DispersionOptions, LabelOptions):
    """Options of ``matkit evaluate``."""

    panels: ClassVar[Panels] = {
        Panel.RUN: ("device", "dtype", "overwrite"),
        Panel.ADVANCED: ("prefix", "skip_unknown", "any_level", "allow_problems", "ignore_charge"),
    }

    model: str | None = Field(
        None,
        description="name or file of the model; several with commas make a committee",
    )
    struct: list[str] = Field(
        [], description="labelled structures, in any format ASE reads, or one converted folder"
    )
    out: str = Field("results/evaluation", description="folder of the results")
    prefix: str = Field(PREFIX, description="beginning of the names of the predictions")
    device: str = Field("auto", description="cpu, cuda, cuda:1, ...; auto takes the GPU if any")
    dtype: Literal["float32", "float64"] | None = Field(
        None, description="precision of the model's arithmetic, if not as it was trained"
    )
    skip_unknown: bool = Field(
        False, description="leave out structures with elements that the model does not know"
    )
    any_level: bool = Field(
        False,
        description="use a fine-tuned model for elements too whose energies are still at the level "
        "of its base",
    )
    allow_problems: bool = Field(
        False, description="go on although labels look wrong (see matkit data inspect)"
    )
    ignore_charge: bool = IGNORE_CHARGE
    overwrite: bool = Field(False, description="replace results that are already there")
