"""Options of training a network of properties of structures."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from matkit.options import Panel, Panels
from matkit.train.options import FileOptions, TrainerOptions, as_table


class PropertyOptions(TrainerOptions, FileOptions):
    """Options of training a network of properties.

    Attributes:
        train_file: Files of structures, or of SMILES, with columns of values.
        model: Name of an architecture or published configuration, or ``name`` with its
            hyper-parameters, of the network that describes atoms.
    """

    panel: ClassVar[Panel] = Panel.MODEL
    panels: ClassVar[Panels] = {
        Panel.FILES: ("test_file", "table", "conformers", "split_by"),
        Panel.ADVANCED: ("allow_missing", "allow_problems", "allow_leakage", "freeze"),
    }

    task: Literal["property"] = Field(
        "property", description="what is trained; property for any columns of numbers"
    )
    target: list[str] = Field(
        [],
        description="columns to learn, as COLUMN[:KIND[:UNIT]]; KIND is intensive (the default), "
        "extensive, dipole, polarizability or extent",
    )
    model: Annotated[str | dict[str, Any], BeforeValidator(as_table)] = Field(
        "facet-s", description="architecture with its hyper-parameters, or a configuration's name"
    )
    backbone: str | None = Field(
        None, description="trained model to start from instead: its name or file, or default"
    )
    pooling: Literal["set2set", "attention", "mean", "deepset"] = Field(
        "set2set", description="how intensive targets see the atoms"
    )
    test_file: list[str] = Field([], description="files only looked at when training has ended")
    table: str | None = Field(
        None, description="CSV with values of structures that its first column names by their files"
    )
    conformers: bool = Field(
        True, description="make geometries of SMILES; without, networks see bonds alone"
    )
    split_by: Literal["group", "formula", "scaffold", "random"] = Field(
        "group",
        description="what is never on both sides of a split: molecules by their SMILES, else "
        "formulas (group), formulas, scaffolds, or the same structures only (random)",
    )
    allow_missing: bool = Field(
        False, description="learn from structures of which some targets are missing"
    )
    allow_problems: bool = Field(
        False, description="go on although the same structures have different values"
    )
    allow_leakage: bool = Field(
        False, description="go on if validation or test structures are in the training set"
    )
    freeze: list[str] = Field(
        [], description="patterns of parameters that are not trained, such as backbone"
    )
    batch_size: int = Field(32, gt=0, description="structures per step and process")
    valid_batch_size: int = Field(128, gt=0, description="structures per step of validation")
    lr: float = Field(0.001, gt=0, description="largest learning rate")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="memory of the average, per step")

    @model_validator(mode="after")
    def _one_network(self) -> Self:
        if self.backbone is not None and self.model != type(self).model_fields["model"].default:
            raise ValueError("model is a new network and backbone a trained one; give one of them")
        return self
