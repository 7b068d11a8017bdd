"""The training loop, on any number of processes, that goes on exactly where it stopped.

Lightning's Fabric starts the processes and averages their gradients. The loop itself is ours,
because a run that was killed must end with the very weights of one that was not: whatever
influences a step is a function of the seed and the step number, or in the checkpoint.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from matkit.devices import seed_generators
from matkit.errors import TrainingError
from matkit.listing import first_names
from matkit.structures import Structures
from matkit.threads import threads_for
from matkit.train.batching import Batches
from matkit.train.checkpoints import TrainingState, load_state, save_state
from matkit.train.gradients import GradientWatch, clip
from matkit.train.objective import Average, Objective, TrainingStep
from matkit.train.optimizers import learning_rate
from matkit.train.options import TrainerOptions
from matkit.train.outcome import failure_of
from matkit.train.progress import Row, TrainingProgress

# Steps between looks at the clock, which all processes must take together.
CLOCK_STEPS = 20


@dataclass(frozen=True)
class Hooks:
    """What the loop tells and asks while it runs, on the first process only.

    Attributes:
        on_step: Called after every step with epoch, batches done, and batches of the epoch.
        on_epoch: Called after a validation with its row of the log and whether it is the best.
        on_start: Called at the end with the errors of the start if no epoch was better, when the
            averaged model is again that of the start.
        note: Called with a sentence.
    """

    on_step: Callable[[int, int, int], None]
    on_epoch: Callable[[Row, bool], None]
    on_start: Callable[[Row], None]
    note: Callable[[str], None]


@dataclass(frozen=True)
class Batched:
    """The sets, in batches.

    Attributes:
        train: Batches to learn from.
        order: Their order.
        valid: Batches to validate on.
        retained: Batches on which forgetting is measured, if any.
        sources: Where each training structure comes from, for messages.
        mean: Errors of predicting the mean on the validation set, as far as they mean something.
    """

    train: DataLoader[Any]
    order: Batches
    valid: DataLoader[Any]
    retained: DataLoader[Any] | None
    sources: Sequence[str]
    mean: Row = field(default_factory=dict)


class Trainer:
    """Minimises an objective.

    Args:
        fabric: Processes and devices.
        objective: Loss of the model, on its device.
        average: The copy that is validated and becomes the result.
        batched: Structures.
        optimizers: Optimisers of the trainable parameters.
        options: Options.
    """

    def __init__(
        self,
        fabric: Fabric,
        objective: Objective,
        average: Average[Any],
        batched: Batched,
        optimizers: Sequence[Optimizer],
        options: TrainerOptions,
    ) -> None:
        self.fabric, self.objective, self.average = fabric, objective, average
        self.batched, self.optimizers, self.options = batched, optimizers, options
        self.trainable = [p for p in objective.parameters() if p.requires_grad]
        self.watch = GradientWatch(objective, objective.may_rest)
        self.progress = TrainingProgress()
        self.forward: Callable[[Any], TrainingStep] = objective
        self.begin = self.saved = self.counted = time.monotonic()

    def fit(self, folder: Path, hooks: Hooks) -> TrainingProgress:
        """Train until the last epoch, the patience or the time is used up.

        Returns:
            How far it came; not ``finished`` only if the time was up first.

        Raises:
            TrainingError: a loss or gradient is not finite; the message names the structures.
        """
        self.begin = self.saved = self.counted = time.monotonic()
        self.folder, self.hooks = folder, hooks
        first = copy.deepcopy(self.average.model.state_dict())
        self.progress, said = load_state(folder, self._state())
        if said:
            self.hooks.note(said)
        self.forward = self.fabric.setup_module(self.objective)
        if self.progress.step == 0:
            self.progress.start = self.validate(self.batched.valid)
            self.progress.retained = self._retained().get("forces_mae")
            self.progress.finished = self.options.max_num_epochs == 0
        while not self.progress.finished and self._epoch():
            self._close_epoch()
        self._judge()
        self._save()
        better = self.progress.best < self.progress.start.get("loss", inf)
        if self.progress.finished and not better and self._keeps_start():
            self.average.model.load_state_dict(first)
            self.hooks.on_start(self.progress.start)
        return self.progress

    def _keeps_start(self) -> bool:
        return self.objective.keeps_start or not self.progress.history

    def validate(self, batches: DataLoader[Any] | None) -> Row:
        """Return the loss of the averaged model on some batches and its errors."""
        return self.objective.validate(self.average.model, batches or [], self.fabric)

    def _epoch(self) -> bool:
        """Do what is left of an epoch; False if the time is up."""
        progress, order = self.progress, self.batched.order
        order.set_epoch(progress.epoch)
        order.skip = progress.batch
        count = len(order)
        for batch in self.batched.train:
            epochs = progress.epoch + (progress.batch + 1) / count
            with threads_for(self.objective.edges(batch)):
                step = self.step(batch.to(self.fabric.device), epochs)
            progress.count(step.loss, step.means)
            self.hooks.on_step(progress.epoch, progress.batch, count)
            if progress.step % CLOCK_STEPS == 0 and self._time_is_up():
                return False
        return True

    def step(self, batch: Structures, epochs: float) -> TrainingStep:
        """Change the weights once; afterwards so many epochs are done, not always whole ones."""
        options, step = self.options, self.progress.step
        rate = learning_rate(epochs / max(1, options.max_num_epochs), options)
        for group in (g for optimizer in self.optimizers for g in optimizer.param_groups):
            group["lr"] = rate
        number = options.seed + 1_000_003 * step + self.fabric.global_rank
        seed_generators(number, self.fabric.device)
        result = self.forward(batch)
        self._check(result, batch)
        # Named, so that nothing is derived by the positions, which require it for the forces.
        self.fabric.backward(result.loss, inputs=self.trainable)
        self.watch.look()
        if not clip(self.trainable, options.clip_grad):
            raise TrainingError(self._not_finite("gradient", range(len(batch)), batch))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.average.update(self.objective.effective(), step)
        return result

    def _check(self, step: TrainingStep, batch: Structures) -> None:
        if bool(torch.isfinite(step.loss)):
            return
        broken = [
            i
            for i in range(len(batch))
            if not all(bool(torch.isfinite(values[i])) for values in step.by_structure.values())
        ]
        raise TrainingError(self._not_finite("loss", broken, batch))

    def _not_finite(self, what: str, which: Sequence[int], batch: Structures) -> str:
        numbers = batch.system["index"].tolist()
        names = first_names(self.batched.sources[numbers[i]] for i in which)
        return (
            f"The {what} is not a finite number in step {self.progress.step}, for the structures "
            f"{names}. Look at them with `matkit data inspect`; if they are sound, use a smaller "
            "lr or clip_grad."
        )

    def _close_epoch(self) -> None:
        """Validate if it is time, write the log, and decide whether to go on."""
        progress, options = self.progress, self.options
        progress.epoch, progress.batch = progress.epoch + 1, 0
        last = progress.epoch == options.max_num_epochs
        if last or progress.epoch % options.eval_interval == 0:
            self.watch.judge()
            row, retained = self.validate(self.batched.valid), self._retained()
            best = progress.judge(row["loss"], retained, options)
            self._count_time()
            self.hooks.on_epoch(progress.row(row, retained), best)
        progress.finished = progress.finished or last
        if time.monotonic() - self.saved >= options.checkpoint_interval:
            self._save()

    def _judge(self) -> None:
        """Find out whether a training that came to its end has failed."""
        progress = self.progress
        if progress.finished and progress.history and progress.start:
            prefix = "valid_"
            last = {
                k.removeprefix(prefix): v for k, v in progress.history[-1].items() if prefix in k
            }
            progress.failure = failure_of(progress.start, last, self.batched.mean)

    def _retained(self) -> Row:
        return self.validate(self.batched.retained) if self.batched.retained else {}

    def _time_is_up(self) -> bool:
        """Write a checkpoint if one is due, and say whether the allowed time has passed."""
        now, limit = time.monotonic(), self.options.max_time
        up = limit is not None and now - self.begin >= 60 * limit
        due = now - self.saved >= max(self.options.checkpoint_interval, 1.0)
        up, due = self.fabric.broadcast((up, due))
        if due:
            self._save()
        return up

    def _save(self) -> None:
        """Write the checkpoint; all processes must come here, the first one writes."""
        self._count_time()
        if self.fabric.is_global_zero:
            save_state(self.folder, self._state(), self.progress)
        self.fabric.barrier()
        self.saved = time.monotonic()

    def _count_time(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self.counted
        self.counted = now

    def _state(self) -> TrainingState:
        return TrainingState(self.objective, self.average, self.optimizers, self.options)
