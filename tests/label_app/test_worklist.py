from dermcheck.label_app.datastore import DermCheckDatastore
from dermcheck.label_app.strategies import RandomStrategy
from dermcheck.label_app.worklist import Worklist, choose_next


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_others_who_have_a_photograph_are_told_and_forgotten_after_a_while():
    clock = Clock()
    worklist = Worklist(clock)
    assert worklist.enter("a", "browser 1", "Dr One") == []
    clock.now = 120
    [(visit, seconds)] = worklist.enter("a", "browser 2", "Dr Two")
    assert (visit.clinician, seconds) == ("Dr One", 120)
    assert worklist.taken("browser 2") == {"a"}
    worklist.leave("a", "browser 1")
    assert worklist.taken("browser 2") == frozenset()
    assert [visit.clinician for visit in worklist.visits("a")] == ["Dr Two"]
    clock.now = 10_000
    assert worklist.visits("a") == []


def test_the_next_photograph_is_neither_skipped_nor_taken_while_others_are_left(store):
    datastore = DermCheckDatastore(store)
    first, second, third = store.image_ids()
    strategy = RandomStrategy()
    for _ in range(10):
        assert choose_next(strategy, {}, datastore, [first], [second]) == third
    assert choose_next(strategy, {}, datastore, [first, third], [second]) == second
    assert choose_next(strategy, {}, datastore, [first, second, third], []) is None
