"""Options of ``matkit generate crystal``: the one place where defaults and meaning are written."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from matkit.options import Options

# Stems of the files of crystals as they were drawn, and relaxed.
GENERATED, RELAXED = "generated", "relaxed"
SEEDS = 1 << 32  # crystals of a seed before those of the next begin
# Ways to say which atoms there are; at most one is used.
ATOMS = ("formula", "composition", "chemical_system", "elements", "like")


class CrystalOptions(Options):
    """Options of ``matkit generate crystal``."""

    model: str | None = Field(None, description="generator, a name or a file")
    num_samples: int = Field(
        10, ge=1, description="crystals to generate, or to generate for each structure of like"
    )
    formula: str | None = Field(
        None, description="all atoms of the cell, such as Na4Cl4; several with commas, in turns"
    )
    composition: str | None = Field(
        None, description="formula unit, such as NaCl; the number of units is z"
    )
    z: str = Field("1", description="formula units in the cell, such as 4 or 1-4")
    chemical_system: str | None = Field(
        None, description="elements that all occur, such as Li-O; balanced compositions are drawn"
    )
    elements: str | None = Field(
        None, description="elements to draw systems of two to four from, such as Li,Na,O,Cl"
    )
    like: str | None = Field(
        None, description="structures whose compositions to take, such as a test set"
    )
    num_atoms: str | None = Field(
        None, description="atoms in the cell, such as 8 or 1-20, if no formula says it"
    )
    space_group: str | None = Field(
        None, description="space group to keep to, such as 225 or Fm-3m"
    )
    condition: list[str] = Field(
        [], description="property that the crystals should have, as name=value in its unit"
    )
    guidance: float = Field(
        2.0, ge=0, description="stress on the conditions: 0 ignores them, 1 is as trained"
    )
    steps: int | None = Field(
        None, ge=1, description="steps from noise to crystal; the model's own number if not given"
    )
    seed: int = Field(0, ge=0, description="seed; crystal i of a seed is always the same")
    redraw: int = Field(
        3, ge=0, description="most times that a crystal is drawn again if atoms overlap"
    )
    batch_size: int | None = Field(
        None, ge=1, description="crystals made together; auto, as many as are fast, if not given"
    )
    relax: str | None = Field(
        None, description="potential that relaxes positions and cell: a name, a file, or default"
    )
    relax_steps: int = Field(500, ge=1, description="most steps of a relaxation")
    fmax: float = Field(0.05, gt=0, description="largest force of a relaxed crystal, in eV/Å")
    dedupe: bool = Field(False, description="leave out of the archive what repeats another crystal")
    known: list[str] = Field(
        [], description="crystals that are not novel, usually the training set: files or folders"
    )
    device: str = Field("auto", description="where models run: cpu, cuda, ...")
    workers: int = Field(1, ge=1, description="processes that judge and relax")
    shard: str = Field("1/1", description="which part of the crystals, such as 2/4")
    out: str = Field("generated", description="folder of the results; what was stopped goes on")
    overwrite: bool = Field(False, description="remove what is there and begin anew")

    @field_validator("batch_size", mode="before")
    @classmethod
    def _auto(cls, value: Any) -> Any:
        return None if value == "auto" else value

    @model_validator(mode="after")
    def _one_request(self) -> Self:
        given = [name for name in ATOMS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} contradict each other; give one of them")
        if self.z != "1" and self.composition is None:
            raise ValueError("z counts formula units of a composition; give composition too")
        if self.num_atoms is not None and (self.formula or self.composition or self.like):
            raise ValueError(f"{given[0]} says how many atoms there are; leave num_atoms out")
        if self.like is not None and self.space_group is not None:
            raise ValueError("like has structures of many space groups; leave space_group out")
        return self
