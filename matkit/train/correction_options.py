"""Options of a generator that corrects itself after its training."""

from __future__ import annotations

from typing import ClassVar, Final, Self

from pydantic import Field, model_validator

from matkit.options import Panel, Panels
from matkit.train.options import FileOptions

# In the place of a verifier: nothing is relaxed, and all that is valid, unique and new is kept.
NO_VERIFIER: Final = "none"


class CorrectionOptions(FileOptions):
    """Files, and how a generator corrects itself: draw, judge, keep, train on, repeat."""

    panel: ClassVar[Panel] = Panel.ADVANCED
    panels: ClassVar[Panels] = {Panel.MODEL: ("self_correct", "verifier")}

    self_correct: int = Field(
        0,
        ge=0,
        description="rounds after the training: draw crystals, relax and judge them, and train on "
        "with those that are stable, unique and new among the others",
    )
    verifier: str = Field(
        "default",
        description="potential that relaxes and judges; none keeps what is valid, unique and new "
        "as it was drawn, to compare with",
    )
    verifier_hull: list[str] = Field(
        ["default"], description="phases of its hull, as in matkit evaluate crystals"
    )
    judge: str | None = Field(
        None, description="second potential, which relaxes and judges what comes of every round"
    )
    judge_hull: list[str] = Field([], description="phases of its hull")
    stable: float = Field(
        0.1, ge=0, description="largest energy above the hull of a stable crystal, in eV/atom"
    )
    correct_samples: int = Field(1000, ge=1, description="crystals drawn in a round")
    judge_samples: int = Field(200, ge=1, description="crystals drawn for the judge")
    correct_epochs: int = Field(5, ge=1, description="epochs of a round")
    correct_lr: float = Field(
        0.1, gt=0, le=1, description="largest learning rate of a round, as a part of lr"
    )
    correct_weight: int = Field(
        1, ge=1, description="how often a crystal that was kept counts beside one of train_file"
    )

    @model_validator(mode="after")
    def _a_judge_has_a_hull(self) -> Self:
        if bool(self.judge) != bool(self.judge_hull):
            raise ValueError("judge and judge_hull belong together; give both or none")
        return self
