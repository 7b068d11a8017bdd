"""Options of evaluation: the one place where defaults and their meaning are written."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from matkit.data.options import LabelOptions
from matkit.options import IGNORE_CHARGE, DispersionOptions, Panel, Panels, SymmetryOptions

# Beginning of the names of predictions in files.
PREFIX = "matkit_"
# What has an effect where matrices are compared.
MATRICES = {"model", "struct", "out", "overwrite", "hamiltonian", "scf_molecules"}


class EvaluateOptions(SymmetryOptions, DispersionOptions, LabelOptions):
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
    hamiltonian: bool = Field(
        False,
        description="compare Kohn-Sham matrices: the model predicts them, and the files are "
        "folders of `matkit label --hamiltonian`",
    )
    scf_molecules: int = Field(
        20,
        ge=0,
        description="with hamiltonian: molecules, evenly spread, of which energies, forces and "
        "self-consistent cycles are computed from the predicted density",
    )
    out: str = Field("results/evaluation", description="folder of the results")
    prefix: str = Field(PREFIX, description="beginning of the names of the predictions")
    device: str = Field("auto", description="cpu, cuda, cuda:1, ...; auto takes the GPU if any")
    dtype: Literal["float32", "float64"] | None = Field(
        None, description="precision of the model's arithmetic, if not as it was trained"
    )
    equivariance: bool = Field(
        False,
        description="turn structures at random and say how far predictions do not turn with them",
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

    @model_validator(mode="after")
    def _what_belongs_to_matrices(self) -> Self:
        fields = type(self).model_fields
        given = {name for name in fields if getattr(self, name) != fields[name].default}
        if self.hamiltonian and (others := sorted(given - MATRICES)):
            raise ValueError(f"hamiltonian leaves {', '.join(others)} without effect; leave it out")
        if not self.hamiltonian and "scf_molecules" in given:
            raise ValueError("scf_molecules has no effect without hamiltonian")
        return self
