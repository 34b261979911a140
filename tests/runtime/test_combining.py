"""One call at a time, each with its own result or error, and nobody waits for ever."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event, Thread, get_ident
from time import sleep
from typing import Any

import pytest

from albert_edge.runtime.model import Combiner

WAIT_S = 30.0  # long enough for a busy machine; a call that is lost would wait for ever


def _call(combiner: Combiner, function: Callable[[int], Any], number: int) -> Any:
    return combiner(partial(function, number))


def _combine(function: Callable[[int], Any]) -> Callable[[int], Any]:
    return partial(_call, Combiner(), function)


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    """Let threads interrupt each other a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def test_calls_are_made_one_at_a_time() -> None:
    inside: list[int] = []

    def square(number: int) -> int:
        inside.append(number)
        sleep(0)  # another thread could come in here
        assert inside == [number]
        return inside.pop() ** 2

    combined = _combine(square)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(combined, range(4000))) == [number**2 for number in range(4000)]


def test_an_error_is_raised_where_it_belongs() -> None:
    def invert(number: int) -> float:
        return 1 / number

    combined = _combine(invert)
    with ThreadPoolExecutor(8) as pool:
        calls = [(number, pool.submit(combined, number)) for number in [0, 1, 2, 4] * 500]
    for number, call in calls:
        if number:
            assert call.result() == 1 / number
        else:
            assert isinstance(call.exception(), ZeroDivisionError)
    assert combined(1) == 1


def test_long_calls_do_not_keep_a_thread_for_others() -> None:
    threads: list[int] = []

    def slow(number: int) -> int:
        threads.append(get_ident())
        sleep(0.01)
        return number

    combined = _combine(slow)
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(combined, range(40))) == list(range(40))
    # After 2 ms each returns to its caller, and the next thread makes its own call.
    assert len(set(threads)) == 4


def _start(combined: Callable[[int], object], number: int, results: list[object]) -> Thread:
    def call() -> None:
        try:
            results.append(combined(number))
        except KeyboardInterrupt as error:
            results.append(error)

    thread = Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_an_interrupted_thread_does_not_stop_the_others() -> None:
    entered, leave = Event(), Event()

    def wait(number: int) -> int:
        if number == 0:
            entered.set()
            leave.wait(WAIT_S)
        return number

    combiner, results = Combiner(), list[object]()
    combined = partial(_call, combiner, wait)
    first = _start(combined, 0, results)
    assert entered.wait(WAIT_S)
    second, third = (_start(combined, number, results) for number in (1, 2))
    while len(combiner._waiting) < 2:
        sleep(0.001)
    # It is raised in the second thread as soon as that runs again, which is when it is woken.
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(second.ident or 0), ctypes.py_object(KeyboardInterrupt)
    )
    leave.set()
    for thread in (first, second, third):
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert {0, 2} <= {one for one in results if isinstance(one, int)}
    assert combined(3) == 3


def test_an_interrupt_in_the_function_leaves_it_usable() -> None:
    def interrupted(number: int) -> int:
        if number == 0:
            raise KeyboardInterrupt
        return number

    combined = _combine(interrupted)
    with pytest.raises(KeyboardInterrupt):
        combined(0)
    assert combined(5) == 5
