"""The function that is minimised: a batch to a loss."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from matkit.derivatives import ForceField
from matkit.errors import ConfigError
from matkit.evaluate.errors import LABELS, ErrorSums, as_row
from matkit.graph import Graph
from matkit.interfaces import Properties
from matkit.train.hessian_losses import hessian_sums
from matkit.train.losses import structure_losses, total_loss, wanted
from matkit.train.options import LossOptions

if TYPE_CHECKING:
    from lightning.fabric import Fabric

ModelT = TypeVar("ModelT", bound=nn.Module)


class TrainingStep(NamedTuple):
    """What one batch gives.

    Attributes:
        loss: Weighted loss, to be differentiated.
        means: Unweighted mean loss of each label.
        by_structure: Loss of each structure [B] by label.
    """

    loss: Tensor
    means: dict[str, Tensor]
    by_structure: dict[str, Tensor]


class Predictor(nn.Module):
    """All that a loss is made of, in one call.

    Args:
        model: Potential with derivatives.
        options: What is minimised.
    """

    def __init__(self, model: ForceField, options: LossOptions) -> None:
        super().__init__()
        self.model, self.options = model, options

    def forward(self, batch: Graph, differentiable: bool) -> Properties:
        """Return energies and their derivatives if they have a weight, and Hessians if these do."""
        labels, result = wanted(self.options), Properties()
        if labels:
            result = self.model(batch, ("energy", *labels), differentiable)
        if self.options.learns_hessians:
            with torch.set_grad_enabled(differentiable):
                blocks = self.model.hessian_blocks(batch)
            assert blocks is not None, "checked before training"
            result["hessian"] = blocks
        return result


class LowRank(nn.Module):
    """Low-rank changes of matrices, ``W + (alpha / rank) A B`` (Hu et al. 2021, LoRA).

    A is normal and B zero, so that nothing is changed at first. Of a stack of matrices each has
    a change of its own.

    Args:
        parameters: Parameters by name; those with fewer than two dimensions stay as they are.
        rank: Columns of A.
        alpha: Strength.

    Raises:
        ConfigError: no matrix is larger than the rank.
    """

    def __init__(self, parameters: Mapping[str, Tensor], rank: int, alpha: float) -> None:
        super().__init__()
        self.names = [n for n, p in parameters.items() if p.ndim > 1 and min(p.shape[-2:]) > rank]
        if not self.names:
            raise ConfigError(f"No matrix of this model is larger than lora_rank {rank}.")
        self.scale = alpha / rank
        self.first, self.second = nn.ParameterList(), nn.ParameterList()
        for name in self.names:
            weight = parameters[name]
            *stack, rows, columns = weight.shape
            a = torch.randn(*stack, rows, rank, dtype=weight.dtype) / math.sqrt(rank)
            self.first.append(a)
            self.second.append(torch.zeros(*stack, rank, columns, dtype=weight.dtype))

    def merged(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the changed parameters by name."""
        changes = zip(self.names, self.first, self.second, strict=True)
        return {name: parameters[name] + self.scale * (a @ b) for name, a, b in changes}


class Objective(nn.Module, ABC):
    """Loss of a model on a batch, differentiable by its trainable parameters.

    Attributes:
        model: The model.
        keeps_start: Whether the model before training is the result if no epoch is better; not if
            it cannot do yet what it is to learn.
    """

    model: nn.Module
    keeps_start: bool = True

    @abstractmethod
    def forward(self, batch: Any) -> TrainingStep:
        """Return the loss of a batch; all randomness is torch's own, seeded before each step."""

    @abstractmethod
    def validate(self, model: Any, batches: Iterable[Any], fabric: Fabric) -> dict[str, float]:
        """Return ``loss`` and further errors of `model` on the batches of all processes.

        Args:
            model: The averaged copy of the model.
            batches: Batches of this process, of which there may be none.
            fabric: Processes and devices.
        """

    def edges(self, batch: Any) -> int:
        """Return how many pairs of atoms a batch has: all of each structure without a graph."""
        return int(batch.n_atoms.square().sum())

    def may_rest(self, name: str) -> bool:
        """Whether a parameter may never get a gradient, since not every training set needs it."""
        return False

    def effective(self) -> dict[str, Tensor]:
        """Return the parameters of the model by name, as the average is to follow them."""
        return dict(self.model.named_parameters())


class PotentialObjective(Objective):
    """Loss of a potential on a batch of graphs.

    Args:
        model: Potential with derivatives.
        options: What is minimised.
        low_rank: Changes to train instead of the parameters themselves.
    """

    def __init__(
        self, model: ForceField, options: LossOptions, low_rank: LowRank | None = None
    ) -> None:
        super().__init__()
        self.model: ForceField = model
        self.options, self.low_rank = options, low_rank
        if low_rank is not None:
            model.requires_grad_(False)
        self.names = [name for name, _ in model.named_parameters()]
        self.plain = tuple(model.parameters())

    def forward(self, batch: Graph) -> TrainingStep:
        """Return the loss of a batch whose labels are in its fields."""
        predictor = Predictor(self.model, self.options)
        if self.low_rank is None:
            prediction = predictor(batch, True)
        else:
            changed = {f"model.{name}": value for name, value in self.effective().items()}
            prediction = functional_call(predictor, changed, (batch, True))
        by_structure = structure_losses(prediction, batch, self.options)
        loss, means = total_loss(by_structure, batch, self.options)
        return TrainingStep(
            loss, means, {key: value.detach() for key, value in by_structure.items()}
        )

    def validate(
        self, model: ForceField, batches: Iterable[Graph], fabric: Fabric
    ) -> dict[str, float]:
        """Return the loss of a model on some batches and its errors."""
        predictor = Predictor(model, self.options)
        sums, total = ErrorSums(), torch.zeros(4, dtype=torch.float64)
        for graph in batches:
            graph = graph.to(fabric.device)
            prediction = predictor(graph, False)
            losses = structure_losses(prediction, graph, self.options)
            loss = total_loss(losses, graph, self.options)[0] * len(graph)
            counts = torch.stack([loss.detach().cpu(), torch.tensor(len(graph)).double()])
            total += torch.cat([counts, hessian_sums(losses, graph).cpu()])
            sums.add(prediction, graph)
        # One tensor of one shape: a process may have had no batch, and must not wait alone.
        zeros = torch.zeros(3, dtype=torch.float64)
        local = torch.cat([total, *(sums.get(label, zeros).cpu() for label in LABELS)])
        both = torch.as_tensor(fabric.all_reduce(local, reduce_op="sum"))
        errors = ErrorSums(zip(LABELS, both[4:].reshape(-1, 3), strict=True))
        row = {"loss": float(both[0] / both[1]), **as_row(errors.result())}
        return row | ({"hessian_mae": float(both[2] / both[3])} if both[3] else {})

    def edges(self, batch: Graph) -> int:
        """Return how many edges a batch has."""
        return len(batch.center)

    def may_rest(self, name: str) -> bool:
        """Whether a parameter may never get a gradient, since not every training set needs it."""
        return False

    def effective(self) -> dict[str, Tensor]:
        """Return the parameters of the model by name, with low-rank changes applied."""
        parameters: dict[str, Tensor] = dict(zip(self.names, self.plain, strict=True))
        if self.low_rank is None:
            return parameters
        return {**parameters, **self.low_rank.merged(parameters)}


class Average(Generic[ModelT]):
    """A copy of a model that follows it: exponential moving average of its parameters.

    Early steps count more, ``decay_t = min(decay, (1 + t) / (10 + t))``, so that random initial
    weights are forgotten. The average is kept in double precision: in single precision it stays
    where it is as soon as ``1 - decay`` of its distance is below its rounding, which for the energy
    of a core orbital (100 times the unit of a network) was 19 meV.

    Args:
        model: Copy of the model.
        decay: Memory per step; 0 copies.

    Attributes:
        exact: Averages by name of the parameter, double precision; empty before the first step.
    """

    def __init__(self, model: ModelT, decay: float) -> None:
        self.model: ModelT = model.requires_grad_(False).eval()
        self.decay = decay
        self.parameters = dict(model.named_parameters())
        self.exact: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor], step: int) -> None:
        """Follow the parameters after optimiser step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        if not self.exact:
            self.exact = {name: own.double() for name, own in self.parameters.items()}
        theirs = [parameters[name].double() for name in self.exact]
        torch._foreach_lerp_(list(self.exact.values()), theirs, 1 - decay)
        torch._foreach_copy_(list(self.parameters.values()), list(self.exact.values()))

    def restore(self, model: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> None:
        """Go on from the state of the copy and from `exact`, or where that is empty the copy's."""
        self.model.load_state_dict(model)
        self.exact = {name: v.to(self.parameters[name].device) for name, v in exact.items()}
