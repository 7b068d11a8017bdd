"""Every task computes as precisely from Python as from the command line."""

import pytest
import torch

from matkit.calculator import MatkitCalculator
from matkit.cli.configs import CONFIGS, TSConfig
from matkit.phonons import phonons
from matkit.simulate import md, relax, singlepoint
from matkit.testing.systems import crystal, water
from matkit.transition import transition_state
from matkit.vibrations import vibrations
from tests.test_calculator import potential

TASKS = {
    "singlepoint": lambda calc: singlepoint(water(), calc),
    "relax": lambda calc: relax(water(), calc, steps=1),
    "md": lambda calc: md(water(), calc, steps=1),
    "vibrations": lambda calc: vibrations(water(), calc, relax=False),
    "phonons": lambda calc: phonons(crystal(), calc, relax=False, min_length=5.0, mesh=5.0),
    "ts": lambda calc: transition_state([water()], calc, steps=1, irc=False),
}


@pytest.fixture
def used(monkeypatch):
    """Precisions in which something was computed."""
    found, calculate = set(), MatkitCalculator.calculate

    def watched(self, *args, **kwargs):
        found.add(str(self.dtype).removeprefix("torch."))
        return calculate(self, *args, **kwargs)

    monkeypatch.setattr(MatkitCalculator, "calculate", watched)
    return found


@pytest.mark.parametrize("own", [torch.float32, torch.float64])
@pytest.mark.parametrize("task", TASKS)
def test_python_computes_as_precisely_as_the_command_line(task, own, used):
    calc = MatkitCalculator(potential().to(own), device="cpu")
    TASKS[task](calc)
    config = {**CONFIGS, "ts": TSConfig}[task]
    assert used == {config.model_fields["dtype"].default}
    assert calc.dtype == own


@pytest.mark.parametrize("task", TASKS)
def test_a_precision_that_is_asked_for_is_kept(task, used):
    TASKS[task](MatkitCalculator(potential(), device="cpu", dtype="float32"))
    assert used == {"float32"}
