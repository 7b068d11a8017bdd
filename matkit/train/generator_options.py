"""Options of training a generator of crystals or molecules."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from matkit.options import Panel, Panels
from matkit.train.correction_options import CorrectionOptions
from matkit.train.options import TrainerOptions, as_table


class GeneratorOptions(TrainerOptions, CorrectionOptions):
    """Options of training a generator.

    Attributes:
        model: Name of an architecture, a published configuration or a trained generator, which
            begins with its weights; or ``name`` with hyper-parameters.
    """

    panel: ClassVar[Panel] = Panel.MODEL
    panels: ClassVar[Panels] = {Panel.ADVANCED: ("parts", "cell", "max_pairs", "mixed_precision")}

    model: Annotated[str | dict[str, Any], BeforeValidator(as_table)] = Field(
        "crystalflow",
        description="architecture with its hyper-parameters, name of a configuration, or name or "
        "file of a trained generator to begin with",
    )
    parts: dict[str, str] = Field(
        {},
        description="parts of a new network that begin as those of other generators: of CDVAE, "
        "`decoder: crystalflow-mp20/network`",
    )
    generates_species: bool = Field(
        False, description="generate the species too; otherwise they are given, as a formula"
    )
    properties: list[str] = Field(
        [], description="columns with properties that structures are to be asked for"
    )
    cell: Literal["niggli", "given"] = Field(
        "niggli",
        description="which cell of a crystal is learnt: the reduced one, or as in the file",
    )
    split_by: Literal["formula", "random"] = Field(
        "random", description="structures that are never torn apart by the split of train_file"
    )
    allow_missing: bool = Field(
        False,
        description="leave out entries that are no structures, and learn without their properties "
        "those that have none",
    )
    batch_size: int = Field(256, gt=0, description="structures per step and process")
    max_pairs: int | None = Field(
        None, gt=0, description="most pairs of atoms in a batch; larger batches are split"
    )
    valid_batch_size: int = Field(256, gt=0, description="structures per step of validation")
    mixed_precision: bool = Field(
        False,
        description="multiply matrices in bfloat16 in training: faster where the hardware can",
    )
    lr: float = Field(0.001, gt=0, description="largest learning rate")
    clip_grad: float = Field(1.0, ge=0, description="largest norm of the gradient; 0 for any")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="memory of the average, per step")
