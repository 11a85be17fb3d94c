"""The queue of predictions: order, limit, clients that leave, and the same asked twice."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from dermcheck.dicomweb.statuses import BusyError, http_status
from dermcheck.errors import MaskError
from dermcheck.label_app.prediction_queue import ClientGoneError, PredictionQueue


class Client:
    """The part of a request that the queue looks at: whether its connection is open."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


@pytest.fixture
def queue():
    made = PredictionQueue(at_once=1, longest=3)
    yield made
    made.close()


@pytest.fixture
def busy(queue) -> Callable[[], threading.Event]:
    """Keep the only thread busy until the event is set; use inside of a running loop."""

    def occupy() -> threading.Event:
        free, begun = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            free.wait(20)

        task = asyncio.ensure_future(queue.answer(Client(), "first", work))
        tasks.append(task)
        return free

    tasks: list[Any] = []
    return occupy


def run(scenario: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(scenario(), 30))


async def settle() -> None:
    """Let what was started come to where it waits."""
    for _ in range(20):
        await asyncio.sleep(0.005)


def test_predictions_run_in_the_order_in_which_they_were_asked_for(queue, busy):
    done: list[int] = []

    async def scenario() -> None:
        free = busy()
        await settle()
        asked = [
            asyncio.ensure_future(queue.answer(Client(), number, lambda number=number: done.append(number)))
            for number in range(3)
        ]
        await settle()
        assert (queue.waiting(), done) == (3, [])
        free.set()
        await asyncio.gather(*asked)

    run(scenario)
    assert done == [0, 1, 2]


def test_the_event_loop_is_free_meanwhile(queue):
    async def scenario() -> float:
        slow = asyncio.ensure_future(queue.answer(Client(), "slow", lambda: time.sleep(0.5)))
        started = time.monotonic()
        for _ in range(10):
            await asyncio.sleep(0)
        took = time.monotonic() - started
        assert not slow.done()
        await slow
        return took

    assert run(scenario) < 0.3


def test_one_too_many_is_refused_with_the_advice_to_come_back(queue, busy):
    async def scenario() -> None:
        free = busy()
        await settle()
        asked = [asyncio.ensure_future(queue.answer(Client(), number, lambda: None)) for number in range(3)]
        await settle()
        with pytest.raises(BusyError, match="3 predictions are waiting already") as caught:
            await queue.answer(Client(), "one too many", lambda: None)
        assert http_status(caught.value) == 503
        free.set()
        await asyncio.gather(*asked)

    run(scenario)


def test_the_same_asked_by_many_is_computed_once(queue, busy):
    computed: list[object] = []

    def work() -> object:
        computed.append(object())
        return computed[-1]

    async def scenario() -> list[object]:
        free = busy()
        await settle()
        asked = [asyncio.ensure_future(queue.answer(Client(), "same", work)) for _ in range(8)]
        await settle()
        free.set()
        return await asyncio.gather(*asked)

    answers = run(scenario)
    assert len(computed) == 1
    assert set(answers) == set(computed)
    run(lambda: queue.answer(Client(), "same", work))
    assert len(computed) == 2  # later it is new work: the photograph may have changed


def test_whose_client_has_gone_is_never_computed(queue, busy):
    computed: list[str] = []

    async def scenario() -> None:
        free = busy()
        await settle()
        leaving, staying = Client(), Client()
        left = asyncio.ensure_future(queue.answer(leaving, "left", lambda: computed.append("left")))
        kept = asyncio.ensure_future(queue.answer(staying, "kept", lambda: computed.append("kept")))
        await settle()
        leaving.gone.set()
        with pytest.raises(ClientGoneError):
            await left
        assert queue.waiting() == 1
        free.set()
        await kept

    run(scenario)
    assert computed == ["kept"]


def test_as_long_as_one_of_several_waits_it_is_computed(queue, busy):
    async def scenario() -> str:
        free = busy()
        await settle()
        leaving = Client()
        left = asyncio.ensure_future(queue.answer(leaving, "same", lambda: "answer"))
        kept = asyncio.ensure_future(queue.answer(Client(), "same", lambda: "answer"))
        await settle()
        leaving.gone.set()
        with pytest.raises(ClientGoneError):
            await left
        free.set()
        return await kept

    assert run(scenario) == "answer"


def test_two_asked_at_once_run_side_by_side_though_one_thread_is_idle():
    queue, meeting = PredictionQueue(at_once=2, longest=3), threading.Barrier(2)

    async def scenario() -> None:
        await queue.answer(Client(), "first", lambda: None)  # its thread is idle from now on
        await asyncio.gather(
            *(queue.answer(Client(), number, lambda: meeting.wait(5)) for number in range(2))
        )

    try:
        run(scenario)
    finally:
        queue.close()


def test_what_stores_something_is_done_even_if_the_client_leaves(queue, busy):
    done: list[str] = []

    async def scenario() -> None:
        free = busy()
        await settle()
        client = Client()
        asked = asyncio.ensure_future(
            queue.answer(client, "store", lambda: done.append("stored"), may_leave=False)
        )
        await settle()
        client.gone.set()
        await settle()
        free.set()
        await asked

    run(scenario)
    assert done == ["stored"]


def test_an_error_reaches_everybody_and_does_not_stop_the_queue(queue):
    def fail() -> None:
        raise MaskError("no mask")

    async def scenario() -> str:
        asked = [asyncio.ensure_future(queue.answer(Client(), "same", fail)) for _ in range(3)]
        errors = await asyncio.gather(*asked, return_exceptions=True)
        assert [str(error) for error in errors] == ["no mask"] * 3
        return await queue.answer(Client(), "next", lambda: "answer")

    assert run(scenario) == "answer"


def test_after_closing_nothing_is_begun(queue):
    queue.close()
    with pytest.raises(BusyError):
        run(lambda: queue.answer(Client(), "late", lambda: None))
