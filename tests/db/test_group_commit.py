"""Group commit: whoever comes while somebody writes is written with the next group; each fails alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from db.group_commit import GroupCommit
from tests.stack import wait_until


class Slow:
    """A writer that can be held up, and remembers its groups."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.writing = 0

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        assert self.writing == 0
        self.writing += 1
        self.groups.append(list(items))
        self.begun.set()
        assert self.go_on.wait(10)
        self.writing -= 1
        if len(items) > 1 and 13 in items:
            raise RuntimeError("as a whole")
        if items == [13]:
            raise ValueError("13")
        return [ArithmeticError("7") if item == 7 else item * 2 for item in items]


def start_behind_one(
    group: GroupCommit[int, int], writer: Slow, pool: ThreadPoolExecutor
) -> list[Future[int]]:
    """Have one write, and twenty wait for it."""
    first = pool.submit(group, 100)
    assert writer.begun.wait(10)
    others = [pool.submit(group, number) for number in range(20)]
    wait_until(lambda: len(group._queue) == 20, 10)
    writer.go_on.set()
    return [first, *others]


def test_one_writes_at_once_and_those_who_come_meanwhile_together_each_failing_alone() -> None:
    writer = Slow()
    with ThreadPoolExecutor(21) as pool:
        asked = start_behind_one(GroupCommit(writer), writer, pool)
        answers = [one.exception(10) or one.result() for one in asked]
    assert [len(group) for group in writer.groups[:2]] == [1, 20]
    # The group failed as a whole, so each of its items was written alone.
    assert [len(group) for group in writer.groups[2:]] == [1] * 20
    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [
        ArithmeticError,
        ValueError,
    ]
    assert [answer for answer in answers if isinstance(answer, int)] == [
        200,
        *(number * 2 for number in range(20) if number not in (7, 13)),
    ]


def test_groups_are_no_larger_than_they_may_be_and_nobody_is_left_waiting() -> None:
    writer = Slow()
    with ThreadPoolExecutor(21) as pool:
        asked = start_behind_one(GroupCommit(writer, most=4), writer, pool)
        for one in asked:
            one.exception(10)
    assert max(len(group) for group in writer.groups) == 4
    assert {item for group in writer.groups for item in group} == {100, *range(20)}


def test_what_concerns_all_is_told_to_all_and_asked_once() -> None:
    writer = Slow()
    with ThreadPoolExecutor(21) as pool:
        asked = start_behind_one(GroupCommit(writer, concerns_all=lambda error: True), writer, pool)
        errors = [one.exception(10) for one in asked]
    assert errors[0] is None
    assert [str(error) for error in errors[1:]] == ["as a whole"] * 20
    assert len(writer.groups) == 2


def test_it_goes_on_after_an_error() -> None:
    writer = Slow()
    writer.go_on.set()
    group = GroupCommit(writer)
    with pytest.raises(ValueError, match="13"):
        group(13)
    assert group(1) == 2
