"""Work over executors: everything once, in order, and nothing lost when a worker dies."""

import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor

import pytest
from ase import Atoms
from ase.io import read

from matkit.errors import SimulationError
from matkit.runs.items import Item, ItemResult
from matkit.runs.ledger import Ledger
from matkit.runs.ledger_files import Files, last_rows
from matkit.runs.schedule import Plan, carry_out

COUNT = 10


def items():
    return (Item(i, f"s[{i}]", Atoms("H", [(i, 0, 0)])) for i in range(COUNT))


def late_first(chunk):
    """The first items take longest, so that results come in another order."""
    time.sleep(0.002 * (COUNT - chunk[0].index))
    return [ItemResult(item, "done", (item.content,)) for item in chunk]


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
    with pytest.raises(SimulationError, match="workers die"):
        run(tmp_path, late_first, Plan(one, 0, Broken(after), 4))
    assert len(last_rows(Files(tmp_path, "made"))) == max(0, after - 1)


class Deadly(Executor):
    """Workers that die of some items; of a piece of several, with the next few pieces too."""

    def __init__(self, deadly, shared=0):
        self.deadly, self.shared, self.dying = deadly, shared, 0
        self.given = []

    def submit(self, work, chunk):
        indices = [item.index for item in chunk]
        self.given.append(indices)
        future = Future()
        if self.deadly & set(indices):
            self.dying = 1 + self.shared * (len(chunk) > 1)
        if self.dying:
            self.dying -= 1
            future.set_exception(BrokenExecutor("it died"))
        else:
            future.set_result(work(chunk))
        return future


def test_work_whose_worker_died_is_given_to_others_twice_and_then_has_failed(tmp_path):
    executor = Deadly({5})
    assert run(tmp_path, late_first, Plan(one, 0, executor, 4)) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert executor.given.count([5]) == 3
    row = last_rows(Files(tmp_path, "made"))[5]
    assert row["status"] == "failed"
    assert row["reason"] == (
        "three workers died at it, perhaps for want of memory; the last: it died"
    )


def test_items_that_only_share_a_worker_with_the_culprit_are_done(tmp_path):
    executor = Deadly({2}, shared=2)
    assert run(tmp_path, late_first, Plan(one, 2, executor, 4)) == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert [3] in executor.given  # which was in the same piece


def test_an_executor_whose_workers_never_live_ends_the_run(tmp_path):
    executor = Deadly(set(range(COUNT)))
    with pytest.raises(SimulationError, match=r"workers die.*run the same\s+command again"):
        run(tmp_path, late_first, Plan(one, 0, executor, 1))


def test_an_executor_that_the_last_item_has_broken_ends_the_run(tmp_path):
    class Breaks(Deadly):
        def submit(self, work, chunk):
            if self.given.count([5]) == 3:
                raise BrokenExecutor("it is broken")
            return super().submit(work, chunk)

    with pytest.raises(SimulationError, match="workers die.*it is broken"):
        run(tmp_path, late_first, Plan(one, 0, Breaks({5, 7}), 1))
    assert len(last_rows(Files(tmp_path, "made"))) == 9  # all but the last are there


def test_work_that_its_scheduler_gave_up_is_given_again(tmp_path):
    class Forgetful(Deadly):
        def submit(self, work, chunk):
            future = super().submit(work, chunk)
            if len(self.given) > 1:
                return future
            lost = Future()
            lost.cancel()
            lost.set_running_or_notify_cancel()
            return lost

    assert run(tmp_path, late_first, Plan(one, 0, Forgetful(set()), 2)) == list(range(COUNT))
