"""Options of ``matkit evaluate molecules``: the one place where defaults are written."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from matkit.options import EXECUTOR, GOES_ON, Panel, Panels, ReadingOptions

# Sets of checks of PoseBusters.
PoseChecks = Literal["mol", "mol_fast"]


class MoleculeScoreOptions(ReadingOptions):
    """Options of ``matkit evaluate molecules``."""

    panels: ClassVar[Panels] = {
        Panel.RUN: ("device", "workers", "executor", "overwrite"),
        Panel.ADVANCED: ("draw", "seed", "relax_steps", "fmax"),
    }

    struct: list[str] = Field(
        [], description="generated molecules: folders or files with coordinates"
    )
    reference: list[str] = Field(
        [], description="true molecules to compare with: folders or files, or the wheel of QM9"
    )
    known: list[str] = Field(
        [],
        description="molecules that are not novel, usually the training set; may be SMILES [the "
        "reference]",
    )
    posebusters: PoseChecks | None = Field(
        None, description="checks of PoseBusters: mol_fast, or mol with energies of conformers"
    )
    fcd: bool = Field(False, description="compute the Fréchet ChemNet distance to the reference")
    relax: str | None = Field(
        None, description="what relaxes the molecules: gfn2, gfn1, or a potential"
    )
    relax_steps: int = Field(500, ge=1, description="most steps of a relaxation")
    fmax: float = Field(0.02, gt=0, description="largest force of a relaxed molecule, in eV/Å")
    draw: int = Field(
        1000,
        ge=2,
        description="most molecules of the reference that are judged, and of the valid ones whose "
        "bonds, angles and torsions are compared with theirs",
    )
    seed: int = Field(0, ge=0, description="seed of this draw")
    device: str = Field("auto", description="where a potential runs: cpu, cuda, ...")
    workers: int = Field(1, ge=1, description="processes that check and relax")
    executor: str = EXECUTOR
    out: str = Field("results/molecules", description=f"folder of the results; {GOES_ON}")
    overwrite: bool = Field(False, description="remove what is there and begin anew")

    @model_validator(mode="after")
    def _chemnet_compares(self) -> Self:
        if self.fcd and not self.reference:
            raise ValueError("fcd compares with a reference; give reference")
        return self
