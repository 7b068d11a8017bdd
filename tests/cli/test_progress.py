"""How far a command is: one bar, one kind of lines, for everything that takes long."""

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from matkit.cli import progress
from matkit.cli.display import Display
from matkit.cli.training import _listener
from matkit.runs.schedule import WorkProgress
from matkit.simulate import SimulationProgress
from matkit.train.options import TrainOptions

STATES = [
    SimulationProgress(step=i, steps=4, energy=-1.0 - i, max_force=0.5 / (i + 1)) for i in range(5)
]


def terminal(width=120):
    """A display whose bars and results can be read afterwards."""
    shown, text = Display(), StringIO()
    for name in ("_out", "_err"):
        console = Console(file=text, force_terminal=True, width=width, color_system=None)
        setattr(shown, name, console)
    return shown, text


def test_plain_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    with progress.simulation(Display(), "cu.xyz") as show:
        for state in STATES:
            show(state)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "cu.xyz: step 0 of at most 4, -1.0000 eV, force 0.5000 eV/Å"
    assert lines[1].endswith("0 s left")
    assert len(lines) == 5


def test_lines_are_not_printed_all_the_time(capsys):
    with progress.simulation(Display(), "cu.xyz") as show:
        for state in STATES:
            show(state)
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal():
    shown, text = terminal()
    with progress.simulation(shown, "cu.xyz") as show:
        for state in STATES:
            show(state)
        show(SimulationProgress(step=4, steps=4, energy=-5.0, temperature=301.0))
    assert "cu.xyz" in text.getvalue()
    assert "301 K" in text.getvalue()


def test_results_of_a_training_do_not_share_a_line_with_the_bar():
    shown, text = terminal(80)
    with _listener(shown, TrainOptions(max_num_epochs=2)) as listener:
        listener.step(0, 1, 2)
        listener.epoch({"epoch": 1, "train_loss": 1.0, "valid_loss": 2.0}, True)
        listener.step(1, 1, 2)
    before, _, after = text.getvalue().partition("epoch 1/2, loss 1, validation 2 *\n")
    assert before.endswith("\x1b[2K")  # the bar's line was erased
    assert "epoch 2/2, batch 1/2" in after


def test_the_time_left_is_that_of_what_is_done_now(capsys, monkeypatch):
    """A run that goes on from step 90 is not as fast as if it had done them in this second."""
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    clock = iter([0.0, 0.0, 10.0, 100.0, 101.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    with progress.metered(Display(), "run") as meter:
        meter.show(90, 100, "90")
        meter.show(91, 100, "91")
        meter.show(1, 100, "a further file")  # of which the first says nothing
        meter.show(2, 100, "2")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["run: 90", "run: 91, 2 min left", "run: a further file", "run: 2, 2 min left"]


def test_a_campaign_says_what_failed(capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    with progress.campaign(Display(), "labelling") as show:
        show(WorkProgress(3, 5, 1, 2, 12.0))
    assert capsys.readouterr().err == "labelling: 3/5, 2 rejected, 1 failed, 12 s left\n"


def test_nobody_knows_how_much_there_is():
    shown, text = terminal()
    with progress.metered(shown, "converting") as meter:
        meter.show(3, None, "3 structures")
    assert "3 structures" in text.getvalue()
    assert "left" not in text.getvalue()


@pytest.mark.parametrize("watched", [progress.simulation, progress.campaign])
def test_quiet_shows_no_progress(watched):
    with watched(Display(quiet=True), "cu.xyz") as show:
        assert show is None


@pytest.mark.parametrize(("seconds", "text"), [(5.2, "5 s"), (90, "2 min"), (7500, "2 h 5 min")])
def test_durations(seconds, text):
    assert progress.duration(seconds) == text
