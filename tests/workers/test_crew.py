"""A job that may have ended a worker works alone."""

from __future__ import annotations

import threading
import time

from workers.crew import Crew


def test_whoever_wants_to_be_alone_waits_for_the_others_and_keeps_new_ones_waiting() -> None:
    crew, order = Crew(), []
    first_in, first_may_go, renewed = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with crew.together():
            first_in.set()
            first_may_go.wait(5)
            order.append("first")

    def suspect() -> None:
        with crew.alone(renewed.set, every=0.02, times=100):
            time.sleep(0.05)
            order.append("suspect")

    def late() -> None:
        with crew.together():
            order.append("late")

    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert first_in.wait(5)
    threads.append(threading.Thread(target=suspect))
    threads[1].start()
    assert renewed.wait(5), "its lease is renewed while it waits"
    threads.append(threading.Thread(target=late))
    threads[2].start()
    first_may_go.set()
    for thread in threads:
        thread.join(5)
    assert order == ["first", "suspect", "late"]


def test_a_suspect_that_gives_up_waiting_leaves_the_way_free() -> None:
    crew = Crew()

    def lose_the_lease() -> None:
        raise LookupError

    def wait_in_vain() -> None:
        try:
            with crew.alone(lose_the_lease, every=0.01):
                raise AssertionError("somebody else is at work")
        except LookupError:
            return

    with crew.together():
        thread = threading.Thread(target=wait_in_vain)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
    with crew.alone(lambda: None, every=1):
        pass
    with crew.together():
        pass


def test_a_long_job_does_not_stop_a_suspect_for_ever() -> None:
    crew = Crew()
    done = threading.Event()

    def suspect() -> None:
        with crew.alone(lambda: None, every=0.01):
            done.set()

    with crew.together():
        threading.Thread(target=suspect).start()
        assert done.wait(5)
    with crew.alone(lambda: None, every=1):
        pass
