"""Options of ``matkit generate molecule``: which molecules."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from matkit.generate.options import GenerateOptions
from matkit.molecules.options import PoseChecks


class MoleculeOptions(GenerateOptions):
    """Options of ``matkit generate molecule``."""

    formula: str | None = Field(
        None, description="all atoms, such as C6H6O; several with commas, in turns"
    )
    num_atoms: str | None = Field(
        None, description="atoms, such as 12 or 12-20; as in the training set if not given"
    )
    scaffold: str | None = Field(
        None,
        description="molecule whose heavy atoms and their bonds are to be part of all others, as "
        "SMILES or a file, whose coordinates then stay",
    )

    posebusters: PoseChecks | None = Field(
        None, description="checks of PoseBusters: mol_fast, or mol with energies of conformers"
    )

    @model_validator(mode="after")
    def _one_number_of_atoms(self) -> Self:
        if self.formula is not None and self.num_atoms is not None:
            raise ValueError("formula says how many atoms there are; leave num_atoms out")
        return self
