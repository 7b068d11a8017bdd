"""Options of training: the one place where defaults and their meaning are written.

The names are those of MACE's `run_train` wherever it has the option.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, field_validator, model_validator

from matkit.data.options import LabelOptions
from matkit.errors import ConfigError, did_you_mean
from matkit.models.shipped import DEFAULT_POTENTIAL
from matkit.options import IGNORE_CHARGE, Options, Panel, Panels, ReadingOptions
from matkit.runs.yaml_text import load_yaml
from matkit.train.extra_losses import term_names


def as_table(value: Any) -> Any:
    """Read a table from the text of a flag, such as ``{"Default": 1.0}`` or ``{name: facet}``.

    Raises:
        ConfigError: the text begins as a table and is none.
    """
    if not (isinstance(value, str) and value.lstrip().startswith("{")):
        return value
    try:
        return load_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"Expected a table such as {{name: facet}}, got {value!r}.") from error


Table = Annotated[dict[str, float], BeforeValidator(as_table)]
# YAML reads atomic numbers as integers.
E0Table = Annotated[str | dict[str | int, float], BeforeValidator(as_table)]
Loss = Literal["mae", "huber", "mse"]
Scheduler = Literal["cosine", "linear", "constant"]


class FileOptions(ReadingOptions):
    """Files to learn from and to validate on."""

    panel: ClassVar[Panel] = Panel.FILES

    train_file: list[str] = Field([], description="files to learn from")
    valid_file: list[str] = Field(
        [], description="files that choose the best epoch; if none, a part of train_file is split"
    )
    valid_fraction: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="part of train_file kept for validation if there is no file; with 0 the errors "
        "of the training set choose the best epoch",
    )


class DataOptions(FileOptions):
    """Labelled structures, and how strictly they are read."""

    panel: ClassVar[Panel] = Panel.FILES
    panels: ClassVar[Panels] = {
        Panel.ADVANCED: (
            "split_by",
            "allow_missing",
            "allow_problems",
            "ignore_charge",
            "allow_leakage",
        )
    }

    split_by: Literal["group", "formula", "block", "random"] = Field(
        "group",
        description="what that split keeps together: trajectories or formulas (group; one alone is "
        "cut into blocks), formulas, blocks of successive frames, or nothing",
    )
    test_file: list[str] = Field([], description="files only looked at when training has ended")
    allow_missing: bool = Field(
        False, description="learn from structures of which some labels are missing"
    )
    allow_problems: bool = Field(
        False, description="go on although labels look wrong (see matkit data inspect)"
    )
    ignore_charge: bool = IGNORE_CHARGE
    allow_leakage: bool = Field(
        False, description="go on if validation or test structures are in the training set"
    )


class LossOptions(Options):
    """What is minimised."""

    panel: ClassVar[Panel] = Panel.LOSS
    panels: ClassVar[Panels] = {
        Panel.ADVANCED: (
            "huber_delta",
            "hessian_modes_weight",
            "hessian_zpe_weight",
            "config_type_weights",
        )
    }

    loss: Loss = Field(
        "huber",
        description="mae (of force vectors), huber or mse, of energies per atom, forces, stresses",
    )
    huber_delta: float = Field(0.01, gt=0, description="where huber turns linear, in eV and Å")
    energy_weight: float = Field(1.0, ge=0, description="weight of the energy per atom in eV")
    forces_weight: float = Field(10.0, ge=0, description="weight of the forces in eV/Å")
    stress_weight: float = Field(0.0, ge=0, description="weight of the stress in eV/Å³")
    hessian_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the mean absolute error of predicted Hessians in eV/Å²; "
        "train_file and valid_file are then folders of `matkit label --hessian`",
    )
    hessian_modes_weight: float = Field(
        0.0, ge=0, description="weight of that error within the softest modes, in eV/Å²"
    )
    hessian_zpe_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the zero-point energies that follow, in eV; molecules only",
    )
    extra_losses: Table = Field(
        {}, description="weights of further terms of the loss by name, such as {force_angle: 0.1}"
    )
    config_type_weights: Table = Field(
        {}, description="weight of structures by their config_type; 1 where not named"
    )

    @property
    def learns_hessians(self) -> bool:
        """Whether predicted Hessians have a weight."""
        weights = self.hessian_weight, self.hessian_modes_weight, self.hessian_zpe_weight
        return any(weights)

    @field_validator("extra_losses")
    @classmethod
    def _known_terms(cls, value: dict[str, float]) -> dict[str, float]:
        for name, weight in value.items():
            if name not in (names := term_names()):
                raise ValueError(f"unknown loss {name!r}.{did_you_mean(name, names)}".rstrip("."))
            if weight < 0:
                raise ValueError(f"the weight of {name} must not be negative")
        return value

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if not (
            self.energy_weight or self.forces_weight or self.stress_weight or self.learns_hessians
        ) and not any(self.extra_losses.values()):
            raise ValueError("the weights of energy, forces, stress and Hessians are all zero")
        return self


class OptimizerOptions(Options):
    """How it is minimised."""

    panel: ClassVar[Panel] = Panel.OPTIMISER
    panels: ClassVar[Panels] = {
        Panel.ADVANCED: (
            "valid_batch_size",
            "amsgrad",
            "warmup",
            "lr_end",
            "clip_grad",
            "ema",
            "ema_decay",
            "eval_interval",
        )
    }

    max_num_epochs: int = Field(
        100,
        ge=0,
        description="passes over the training set; 0 only evaluates what training would start from",
    )
    batch_size: int = Field(8, gt=0, description="structures per step and process")
    valid_batch_size: int = Field(32, gt=0, description="structures per step of validation")
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="adamw, or muon for matrices and adamw for the rest"
    )
    lr: float = Field(0.005, gt=0, description="largest learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decay of matrices, as in AdamW")
    amsgrad: bool = Field(False, description="keep the largest second moment")
    scheduler: Scheduler = Field("cosine", description="how the learning rate falls")
    warmup: float = Field(0.02, ge=0, lt=1, description="part of the steps of rising learning rate")
    lr_end: float = Field(0.01, ge=0, le=1, description="last learning rate as a part of lr")
    clip_grad: float = Field(10.0, ge=0, description="largest norm of the gradient; 0 for any")
    ema: bool = Field(True, description="use averaged weights for validation and as the result")
    ema_decay: float = Field(0.99, ge=0, lt=1, description="memory of the average, per step")
    patience: int | None = Field(
        None, gt=0, description="validations without improvement before training ends"
    )
    eval_interval: int = Field(1, gt=0, description="epochs between validations")


class RunOptions(Options):
    """Where it runs and what it leaves."""

    panel: ClassVar[Panel] = Panel.RUN
    panels: ClassVar[Panels] = {
        Panel.ADVANCED: ("num_workers", "restart_latest", "checkpoint_interval")
    }

    name: str = Field("model", description="name of the run and of its folder")
    work_dir: str = Field("results", description="folder of the runs")
    seed: int = Field(0, ge=0, description="seed of weights, split and order of structures")
    device: str = Field("auto", description="cpu, cuda or auto, which takes GPUs if there are any")
    devices: int = Field(1, gt=0, description="number of GPUs or CPU processes (DDP)")
    num_workers: int = Field(0, ge=0, description="processes that prepare batches")
    default_dtype: Literal["float32", "float64"] = Field(
        "float32", description="arithmetic of the network; geometry and sums are float64"
    )
    restart: Literal["auto"] | None = Field(
        None, description="auto: go on from the last checkpoint if there is one"
    )
    restart_latest: bool = Field(False, description="the same as restart: auto")
    max_time: float | None = Field(
        None, gt=0, description="stop after these minutes; --restart auto goes on later"
    )
    checkpoint_interval: float = Field(
        30.0, ge=0, description="least seconds between checkpoints; 0 writes one every epoch"
    )
    dry_run: bool = Field(False, description="print parameters, memory and time; train nothing")
    report: bool = Field(True, description="write the HTML report at the end")
    overwrite: bool = Field(False, description="replace an earlier run of that name")

    @property
    def goes_on(self) -> bool:
        """Whether a run of that name is to be continued."""
        return self.restart is not None or self.restart_latest


class TrainerOptions(RunOptions, OptimizerOptions):
    """What the training loop must know, whatever is trained."""


class PotentialOptions(TrainerOptions, LossOptions, LabelOptions, DataOptions):
    """What training a potential and fine-tuning it have in common."""

    panel: ClassVar[Panel] = Panel.MODEL
    panels: ClassVar[Panels] = {Panel.ADVANCED: ("max_edges", "freeze", "spot_checks")}

    max_edges: int | None = Field(
        None, gt=0, description="most edges in a batch; larger batches are split"
    )
    level: str = Field(
        "", description="level of theory of the labels, such as PBE, to be noted in the model file"
    )
    freeze: list[str] = Field([], description="patterns of parameters that are not trained")
    spot_checks: bool = Field(
        True, description="add an energy-volume curve and short dynamics to the report"
    )


class TrainOptions(PotentialOptions):
    """Options of training from scratch.

    Attributes:
        model: Name of an architecture or published configuration, or ``name`` with its
            hyper-parameters.
    """

    panel: ClassVar[Panel] = Panel.MODEL

    model: Annotated[str | dict[str, Any], BeforeValidator(as_table)] = Field(
        "facet-s", description="architecture with its hyper-parameters, or a configuration's name"
    )
    r_max: float | None = Field(None, gt=0, description="cutoff in Å instead of the model's")
    max_L: int | None = Field(  # noqa: N815 MACE's name
        None, ge=0, description="highest degree instead of the model's"
    )
    num_channels: int | None = Field(None, gt=0, description="channels instead of the model's")
    num_interactions: int | None = Field(None, gt=0, description="layers instead of the model's")
    E0s: E0Table = Field(
        "auto",
        description="reference energies: isolated, fit, a table or a JSON file; auto takes "
        "isolated atoms if all elements have one, else fit",
    )


class FinetuneOptions(PotentialOptions):
    """Options of fine-tuning."""

    panel: ClassVar[Panel] = Panel.MODEL
    panels: ClassVar[Panels] = {
        Panel.ADVANCED: (
            "lora_rank",
            "lora_alpha",
            "num_samples_pt",
            "replay_weight",
            "retain_limit",
        )
    }

    foundation_model: str = Field(
        DEFAULT_POTENTIAL, description="name or file of the model to start from"
    )
    lr: float = Field(0.0005, gt=0, description="largest learning rate")
    E0s: E0Table = Field(
        "fit",
        description="reference energies: fit (to the error of the base), foundation, isolated, a "
        "table or a JSON file",
    )
    lora: bool = Field(False, description="train low-rank changes of the matrices only")
    lora_rank: int = Field(8, gt=0, description="rank of those changes")
    lora_alpha: float = Field(8.0, gt=0, description="strength of those changes")
    replay_file: list[str] = Field(
        [], description="structures whose present prediction is to be retained"
    )
    replay_weight: float = Field(1.0, gt=0, description="weight of those structures")
    num_samples_pt: int = Field(1000, gt=0, description="most structures of replay_file in use")
    retain_file: list[str] = Field(
        [], description="labelled structures on which forgetting is measured"
    )
    retain_limit: float | None = Field(
        None, gt=1, description="stop when the force error there grows by this factor"
    )

    @model_validator(mode="after")
    def _a_limit_needs_forces_to_watch(self) -> Self:
        if self.retain_limit is not None and not (self.retain_file and self.forces_weight):
            raise ValueError(
                "retain_limit watches force errors on retain_file; name that file and give "
                "forces_weight a value above zero"
            )
        return self
