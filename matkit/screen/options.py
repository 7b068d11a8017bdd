"""Options of ``matkit screen``: the one place where defaults and meaning are written."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from matkit.crystals.generation.options import CrystalOptions
from matkit.models.shipped import DEFAULT_POTENTIAL
from matkit.options import EXECUTOR, GOES_ON, DispersionOptions, Panel, Panels, ReadingOptions

# Options of generating crystals by the same names.
REQUEST = (
    *("formula", "composition", "z", "chemical_system", "elements", "like"),
    *("num_atoms", "space_group", "seed"),
)


def _as_generated(name: str) -> Any:
    """Return an option of generating crystals, with its default and meaning."""
    field = CrystalOptions.model_fields[name]
    return Field(field.default, description=field.description)


class ScreenOptions(ReadingOptions, DispersionOptions):
    """Options of ``matkit screen``."""

    panels: ClassVar[Panels] = {
        Panel.MODEL: ("generate", "generator", *REQUEST),
        Panel.RUN: ("device", "workers", "executor", "shard", "retry_failed", "overwrite"),
        Panel.ADVANCED: (
            "relax_steps",
            "tight",
            "min_length",
            "imaginary",
            "timeout",
            "batch_atoms",
        ),
    }

    struct: list[str] = Field(
        [], description="candidates: files of crystals, folders of them, or converted data sets"
    )
    generate: int | None = Field(
        None, ge=1, description="crystals to generate as candidates, in the place of files"
    )
    generator: str | None = Field(
        None, description="generators as of matkit generate crystal --model"
    )
    formula: str | None = _as_generated("formula")
    composition: str | None = _as_generated("composition")
    z: str = _as_generated("z")
    chemical_system: str | None = _as_generated("chemical_system")
    elements: str | None = _as_generated("elements")
    like: str | None = _as_generated("like")
    num_atoms: str | None = _as_generated("num_atoms")
    space_group: str | None = _as_generated("space_group")
    seed: int = Field(0, ge=0, description="seed of what is generated")
    steps: list[str] = Field(
        ["relax", "dedupe", "hull", "phonons", "elastic"],
        description="steps in their order, with commas; hull needs references and is left out of "
        "the default without them",
    )
    model: str = Field(DEFAULT_POTENTIAL, description="potential, a name or a file")
    hull: list[str] = Field(
        [],
        description="phases of the hull: default for those that come with the default potential, "
        "CSV of formula and energy_per_atom (eV) with the same potential, or crystals, whose "
        "energies it gives as they are",
    )
    max_above_hull: float = Field(
        0.1, ge=0, description="largest energy above the hull that goes on, in eV/atom"
    )
    fmax: float = Field(0.02, gt=0, description="largest force after the relaxation, in eV/Å")
    relax_steps: int = Field(500, ge=1, description="most steps of a relaxation")
    tight: float = Field(
        1e-3,
        gt=0,
        description="largest force that second derivatives are taken at, in eV/Å: phonons and "
        "elastic relax further, with the space group kept",
    )
    min_length: float = Field(
        10.0,
        gt=0,
        description="smallest distance between opposite faces of the supercell of phonons, in Å",
    )
    imaginary: float = Field(
        0.1, gt=0, description="a frequency below minus this is dynamically unstable, in THz"
    )
    timeout: float = Field(
        10.0, gt=0, description="seconds of computing for one pair of crystals that is compared"
    )
    batch_atoms: int = Field(
        500,
        ge=1,
        description="atoms relaxed together, and done again if the run is killed meanwhile",
    )
    device: str = Field("auto", description="where models run: cpu, cuda, ...")
    workers: int = Field(1, ge=1, description="processes, or workers of the executor")
    executor: str = EXECUTOR
    shard: str = Field(
        "1/1",
        description="which part of the candidates, such as 2/4; repeats are found within a part, "
        "and the last part writes the table of all",
    )
    out: str = Field("screening", description=f"folder of the results; {GOES_ON}")
    retry_failed: bool = Field(False, description="try candidates again that failed before")
    overwrite: bool = Field(False, description="remove what is there and begin anew")

    @field_validator("steps", mode="before")
    @classmethod
    def _with_commas(cls, value: Any) -> Any:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list):
            return value
        return [part.strip() for text in texts for part in str(text).split(",") if part.strip()]

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.struct and self.generate is not None:
            raise ValueError("struct names candidates and generate makes them; give one of them")
        given = [name for name in ("generator", *REQUEST) if name in self.model_fields_set]
        changed = [name for name in given if getattr(self, name) != self._default(name)]
        if changed and self.generate is None:
            raise ValueError(f"{changed[0]} says what to generate; give generate, their number")
        return self

    @classmethod
    def _default(cls, name: str) -> Any:
        return cls.model_fields[name].default
