"""Photographs asked about at the same time are computed together."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dermcheck.label_app.micro_batches import MicroBatches


class Doubling:
    """In place of networks: doubles numbers, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def compute(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        self.begun.set()
        assert self.go_on.wait(10)
        if 13 in numbers:
            raise ValueError("13")
        return [2 * number for number in numbers]


@pytest.fixture
def batches() -> MicroBatches:
    return MicroBatches()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(32) as made:
        yield made


def ask_while_busy(batches, pool, networks: list[Doubling], numbers: list[int]) -> list[int]:
    """Keep the first network busy until everybody else waits; return their answers."""
    busy = networks[0]
    busy.go_on.clear()
    first = pool.submit(batches.compute, busy, 0)
    assert busy.begun.wait(10)
    asked = []
    for network, number in zip(networks, numbers, strict=True):
        asked.append(pool.submit(batches.compute, network, number))
        while len(batches._waiting) < len(asked):
            assert not first.done()
    busy.go_on.set()
    assert first.result(10) == 0
    return [each.result(10) if not each.exception(10) else each.exception() for each in asked]


def test_what_gathers_while_others_are_computed_is_computed_together(batches, pool):
    network, numbers = Doubling(), list(range(1, 13))
    assert ask_while_busy(batches, pool, [network] * 12, numbers) == [2 * number for number in numbers]
    assert network.batches == [[0], list(range(1, 9)), list(range(9, 13))]


def test_photographs_for_other_models_are_never_put_together(batches, pool):
    old, new = Doubling(), Doubling()
    assert ask_while_busy(batches, pool, [old, old, new, new], [1, 2, 3, 4]) == [2, 4, 6, 8]
    assert (old.batches, new.batches) == ([[0], [1, 2]], [[3, 4]])


def test_one_that_fails_does_not_spoil_the_others(batches, pool, caplog):
    network = Doubling()
    first, wrong, last = ask_while_busy(batches, pool, [network] * 3, [1, 13, 2])
    assert (first, last) == (2, 4)
    assert isinstance(wrong, ValueError)
    assert "3 photographs together failed, each is tried alone: ValueError('13')" in caplog.text
    assert batches.compute(network, 5) == 10


def test_those_that_arrive_within_a_moment_are_waited_for(batches, pool):
    network = Doubling()
    with batches.coming():
        first = pool.submit(batches.compute, network, 1)
        second = pool.submit(batches.compute, network, 2)
    assert (first.result(10), second.result(10)) == (2, 4)
    assert sorted(number for batch in network.batches for number in batch) == [1, 2]


def test_nobody_waits_for_ever_for_one_that_does_not_arrive(batches, pool):
    with batches.coming():
        assert pool.submit(batches.compute, Doubling(), 1).result(10) == 2
