"""Options of training a network that predicts Kohn-Sham matrices."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from matkit.options import Panel, Panels
from matkit.train.options import FileOptions, TrainerOptions, as_table


class HamiltonianOptions(TrainerOptions, FileOptions):
    """Options of training a network of Kohn-Sham matrices.

    Attributes:
        train_file: Folders of ``matkit label --hamiltonian``.
        model: Name of an architecture or published configuration, or ``name`` with its
            hyper-parameters.
    """

    panel: ClassVar[Panel] = Panel.MODEL
    panels: ClassVar[Panels] = {}

    model: Annotated[str | dict[str, Any], BeforeValidator(as_table)] = Field(
        "qhnet", description="architecture with its hyper-parameters, or a configuration's name"
    )
    batch_size: int = Field(5, gt=0, description="structures per step and process")
    optimizer: Literal["adamw", "muon"] = Field(
        "muon", description="adamw, or muon for matrices and adamw for the rest"
    )
    lr: float = Field(0.01, gt=0, description="largest learning rate")
    clip_grad: float = Field(1.0, ge=0, description="largest norm of the gradient; 0 for any")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="memory of the average, per step")
