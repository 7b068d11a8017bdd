"""Options of ``matkit evaluate crystals``: the one place where defaults are written."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from matkit.options import DispersionOptions, Panel, Panels, ReadingOptions

# Set whose thresholds of the coverage are used.
Thresholds = Literal["mp-20", "perov-5", "carbon-24"]


class CrystalsOptions(DispersionOptions, ReadingOptions):
    """Options of ``matkit evaluate crystals``."""

    panels: ClassVar[Panels] = {
        Panel.RUN: ("device", "workers", "overwrite"),
        Panel.ADVANCED: ("draw", "seed", "timeout"),
    }

    struct: list[str] = Field(
        [], description="generated crystals: folders, zip archives or files of structures"
    )
    reference: list[str] = Field(
        [], description="crystals to compare with, usually a test set: folders, archives or files"
    )
    known: list[str] = Field(
        [], description="crystals that are not novel, usually the training set [the reference]"
    )
    samples: int | None = Field(
        None,
        ge=1,
        description="crystals generated for each one of the reference, in its order; asks for "
        "match rates [all, of crystals that were generated with --like]",
    )
    coverage: Thresholds | None = Field(
        None, description="thresholds of the coverage; asks for fingerprints, which take long"
    )
    model: str | None = Field(None, description="potential for energies, a name or a file")
    hull: list[str] = Field(
        [],
        description="phases of the hull: default for those that come with the default potential, "
        "CSV of formula and energy_per_atom (eV) with the same potential, or crystals, whose "
        "energies it gives as they are",
    )
    stable: float = Field(
        0.1, ge=0, description="largest energy above the hull of a stable crystal, in eV/atom"
    )
    draw: int = Field(1000, ge=1, description="valid crystals drawn for distances of distributions")
    seed: int = Field(0, ge=0, description="seed of this draw")
    workers: int = Field(1, ge=1, description="processes")
    timeout: float = Field(
        10.0,
        gt=0,
        description="seconds of computing for one pair or crystal; what takes longer is counted",
    )
    device: str = Field("auto", description="where the potential runs: cpu, cuda, ...")
    out: str = Field("results/crystals", description="folder of the results")
    overwrite: bool = Field(False, description="replace results that are already there")

    @model_validator(mode="after")
    def _what_needs_what(self) -> Self:
        if not self.reference and (self.samples or self.coverage):
            raise ValueError("samples and coverage compare with a reference; give reference")
        if self.hull and not self.model:
            raise ValueError("hull holds energies of a potential; give its model")
        if self.dispersion and not self.model:
            raise ValueError("dispersion is added to a potential; give its model")
        return self
