"""Options of ``matkit generate``: the one place where defaults and meaning are written."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from matkit.options import EXECUTOR, GOES_ON, DispersionOptions, Panel, Panels

# Stems of the files of structures as they were drawn, and relaxed.
GENERATED, RELAXED = "generated", "relaxed"
SEEDS = 1 << 32  # structures of a seed before those of the next begin


class GenerateOptions(DispersionOptions):
    """Options of ``matkit generate`` for structures of any kind."""

    panels: ClassVar[Panels] = {
        Panel.RUN: ("device", "workers", "executor", "shard", "overwrite"),
        Panel.ADVANCED: ("guidance", "steps", "redraw", "batch_size", "relax_steps", "trials"),
    }

    model: str | None = Field(
        None,
        description="generator, a name or a file; several with commas take turns, and all stands "
        "for those that fit what is asked for",
    )
    num_samples: int = Field(
        10, ge=1, description="structures to generate, or to generate for each structure of like"
    )
    condition: list[str] = Field(
        [], description="property that the structures should have, as name=value in its unit"
    )
    optimize: list[str] = Field(
        [],
        description="property to search for, as name=min, name=max or name=value, with a model "
        "that searches (cdvae)",
    )
    guidance: float = Field(
        2.0, ge=0, description="stress on the conditions: 0 ignores them, 1 is as trained"
    )
    steps: int | None = Field(
        None, ge=1, description="steps from noise to structure; the model's own number if not given"
    )
    seed: int = Field(0, ge=0, description="seed; structure i of a seed is always the same")
    redraw: int = Field(
        3,
        ge=0,
        description="most times that a structure is drawn again if atoms overlap or it is not "
        "as asked for",
    )
    batch_size: int | None = Field(
        None, ge=1, description="structures made together; auto, as many as are fast, if not given"
    )
    coordinates: str | None = Field(
        None,
        description="model that finds coordinates if the first one makes none, a name or a file; "
        "they are drawn at random if not given",
    )
    relax: str | None = Field(
        None,
        description="what relaxes them: a potential (name, file, or default), gfn1 or gfn2",
    )
    relax_steps: int = Field(500, ge=1, description="most steps of a relaxation")
    trials: int = Field(
        1,
        ge=1,
        description="starts of the relaxation, each with other coordinates, if the model makes "
        "none; the one that ends lowest in energy is kept",
    )
    fmax: float = Field(0.05, gt=0, description="largest force of a relaxed structure, in eV/Å")
    dedupe: bool = Field(
        False, description="leave out of the archive what repeats another structure"
    )
    known: list[str] = Field(
        [], description="structures that are not novel, usually the training set: files or folders"
    )
    device: str = Field("auto", description="where models run: cpu, cuda, ...")
    workers: int = Field(1, ge=1, description="processes that judge and relax")
    executor: str = EXECUTOR
    shard: str = Field("1/1", description="which part of the structures, such as 2/4")
    out: str = Field("generated", description=f"folder of the results; {GOES_ON}")
    overwrite: bool = Field(False, description="remove what is there and begin anew")

    @property
    def strict(self) -> bool:
        """Whether structures unlike what was asked for are rejected, not only drawn again."""
        return False

    @property
    def keeps_symmetry(self) -> bool:
        """Whether relaxations keep the symmetry."""
        return False

    @field_validator("batch_size", mode="before")
    @classmethod
    def _auto(cls, value: Any) -> Any:
        return None if value == "auto" else value

    @model_validator(mode="after")
    def _relaxing_is_asked_for(self) -> Self:
        if self.dispersion is not None and self.relax is None:
            raise ValueError("dispersion is added to the potential that relaxes; give relax")
        if self.trials > 1 and self.relax is None:
            raise ValueError("trials are starts of a relaxation; give relax")
        return self
