"""Work over executors: everything once, in order, and nothing lost when a worker dies."""

import os
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from functools import partial

import pytest
from ase import Atoms
from ase.io import read

from matkit.errors import SimulationError
from matkit.runs.items import Item, ItemResult
from matkit.runs.ledger import Ledger
from matkit.runs.ledger_files import Files, last_rows
from matkit.runs.schedule import Plan, carry_out, open_executor

COUNT = 10


def items():
    return (Item(i, f"s[{i}]", Atoms("H", [(i, 0, 0)])) for i in range(COUNT))


def late_first(chunk):
    """The first items take longest, so that results come in another order."""
    time.sleep(0.002 * (COUNT - chunk[0].index))
    return [ItemResult(item, "done", (item.content,)) for item in chunk]


def dies_at(number, chunk):
    if chunk[0].index == number:
        os._exit(1)
    return late_first(chunk)


def one(item):
    return 1


def run(folder, work, plan, on_progress=None):
    with Ledger(Files(folder, "made"), {}) as ledger:
        carry_out(items, work, ledger, plan, on_progress)
    return [atoms.positions[0, 0] for atoms in read(folder / "made.extxyz", ":")]


@pytest.mark.parametrize("limit", [0, 3, 100])
def test_items_are_cut_into_pieces(tmp_path, limit):
    sizes = []

    def work(chunk):
        sizes.append(len(chunk))
        return late_first(chunk)

    assert run(tmp_path, work, Plan(one, limit)) == list(range(COUNT))
    assert sizes == {0: [1] * COUNT, 3: [3, 3, 3, 1], 100: [COUNT]}[limit]


def test_threads_write_in_order_and_read_little_ahead(tmp_path):
    running, most = set(), []

    def work(chunk):
        running.add(chunk[0].index)
        most.append(len(running))
        made = late_first(chunk)
        running.discard(chunk[0].index)
        return made

    with ThreadPoolExecutor(8) as executor:
        assert run(tmp_path, work, Plan(one, 0, executor, 3)) == list(range(COUNT))
    assert max(most) <= 3


def test_progress_and_what_is_left(tmp_path):
    seen = []
    run(tmp_path, late_first, Plan(one, 4), seen.append)
    assert [state.done for state in seen] == [4, 8, 10]
    assert all(state.total == COUNT for state in seen)
    assert seen[-1].seconds_left == 0
    assert seen[0].seconds_left > seen[1].seconds_left > 0


def test_an_error_of_the_work_loses_nothing(tmp_path):
    def work(chunk):
        if chunk[0].index == 6:
            raise KeyboardInterrupt
        return late_first(chunk)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, work, Plan(one, 0))
    done = []

    def rest(chunk):
        done.extend(item.index for item in chunk)
        return late_first(chunk)

    assert run(tmp_path, rest, Plan(one, 0)) == list(range(COUNT))
    assert done == [6, 7, 8, 9]


class Broken(Executor):
    """An executor that breaks when so many pieces were taken."""

    def __init__(self, after):
        self.left = after

    def submit(self, work, chunk):
        if not self.left:
            raise BrokenExecutor("a child process terminated")
        self.left -= 1
        future = Future()
        if self.left:
            future.set_result(work(chunk))
        else:
            future.set_exception(BrokenExecutor("a child process terminated"))
        return future


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_worker_that_died_before_more_is_given_to_it(tmp_path, after):
    """What was finished is kept."""
    with pytest.raises(SimulationError, match="A worker died"):
        run(tmp_path, late_first, Plan(one, 0, Broken(after), 4))
    assert len(last_rows(Files(tmp_path, "made"))) == max(0, after - 1)


def test_a_dead_worker_is_told_and_the_run_goes_on(tmp_path):
    with (
        open_executor(2) as executor,
        pytest.raises(SimulationError, match=r"A worker died.*run the same\s+command again"),
    ):
        run(tmp_path, partial(dies_at, 5), Plan(one, 0, executor, 2))
    assert run(tmp_path, late_first, Plan(one, 0)) == list(range(COUNT))


def test_one_worker_is_this_process():
    with open_executor(1) as executor:
        assert executor is None
