"""Options of ``matkit generate crystal``: which crystals."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from matkit.generate.options import GenerateOptions

# Ways to say which atoms there are; at most one is used.
ATOMS = ("formula", "composition", "chemical_system", "elements", "like")


class CrystalOptions(GenerateOptions):
    """Options of ``matkit generate crystal``."""

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
        None,
        description="elements to draw systems of two to four from, or of any number if the model "
        "finds them itself, such as Li,Na,O,Cl",
    )
    required_elements: str | None = Field(
        None, description="elements that must occur, others may, such as Li-O"
    )
    like: str | None = Field(
        None, description="structures whose compositions to take, such as a test set"
    )
    num_atoms: str | None = Field(
        None, description="atoms in the cell, such as 8 or 1-20, if no formula says it"
    )
    space_group: str | None = Field(
        None,
        description="space group to keep to, such as 225 or Fm-3m; a formula is then that of the "
        "conventional cell (Si8 in 227 is diamond), or of a primitive one where that cannot be",
    )
    strict_symmetry: bool = Field(
        False, description="reject crystals that have another space group, also after relaxing"
    )

    @property
    def strict(self) -> bool:
        """Whether crystals unlike what was asked for are rejected."""
        return self.strict_symmetry

    @property
    def keeps_symmetry(self) -> bool:
        """Whether relaxations keep the space group: where one is asked for."""
        return self.space_group is not None

    @model_validator(mode="after")
    def _one_request(self) -> Self:
        given = [name for name in ATOMS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} contradict each other; give one of them")
        if self.required_elements and given not in ([], ["elements"]):
            raise ValueError(f"{given[0]} says which elements occur; leave required_elements out")
        if self.z != "1" and self.composition is None:
            raise ValueError("z counts formula units of a composition; give composition too")
        if self.num_atoms is not None and (self.formula or self.composition or self.like):
            raise ValueError(f"{given[0]} says how many atoms there are; leave num_atoms out")
        if self.strict_symmetry and self.space_group is None:
            raise ValueError("strict_symmetry needs to know the symmetry; give space_group")
        if self.like is not None and self.space_group is not None:
            raise ValueError("like has structures of many space groups; leave space_group out")
        return self
