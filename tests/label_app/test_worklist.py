from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from dermcheck.label_app.worklist import Worklist


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def worklist(clock):
    return Worklist(clock)


def test_others_who_have_a_photograph_are_told_and_forgotten_after_a_while(worklist, clock):
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


def test_what_somebody_has_is_handed_to_nobody_else_until_the_lease_ends(worklist, clock):
    assert worklist.hand_out("a", "browser 1", "Dr One")
    assert worklist.hand_out("a", "browser 1", "Dr One")  # who has it may have it again
    assert not worklist.hand_out("a", "browser 2", "Dr Two")
    clock.now = 599
    assert not worklist.hand_out("a", "browser 2", "Dr Two")
    clock.now = 600
    assert worklist.hand_out("a", "browser 2", "Dr Two")


def test_who_was_handed_a_photograph_is_told_why_until_they_leave_it(worklist):
    worklist.hand_out("a", "", "", reason="The model is unsure.")  # for a viewer that is being started
    worklist.enter("a", "browser 1", "Dr One")
    worklist.enter("a", "browser 2", "Dr Two")  # by its name
    worklist.enter("a", "browser 1", "Dr One")  # a minute later
    assert worklist.reason("a", "browser 1") == "The model is unsure."
    assert worklist.reason("a", "browser 2") == worklist.reason("b", "browser 1") == ""
    worklist.leave("a", "browser 1")
    worklist.enter("a", "browser 1", "Dr One")
    assert worklist.reason("a", "browser 1") == ""


@pytest.mark.parametrize("sign_of_life", ["enter", "renew"])
def test_a_sign_of_life_prolongs_the_lease(worklist, clock, sign_of_life):
    worklist.hand_out("a", "browser 1", "Dr One")
    clock.now = 500
    if sign_of_life == "enter":
        worklist.enter("a", "browser 1", "Dr One")
    else:
        worklist.renew("a", "browser 1")
    clock.now = 1000
    assert not worklist.hand_out("a", "browser 2", "Dr Two")
    clock.now = 1100
    assert worklist.hand_out("a", "browser 2", "Dr Two")


def test_a_lease_that_has_ended_or_never_was_cannot_be_renewed(worklist, clock):
    worklist.renew("a", "browser 1")
    assert worklist.visits("a") == []
    worklist.hand_out("a", "browser 1", "Dr One")
    clock.now = 700
    worklist.renew("a", "browser 1")
    assert worklist.hand_out("a", "browser 2", "Dr Two")


def test_a_shorter_renewal_does_not_cut_a_long_lease(worklist, clock):
    worklist.hand_out("a", "Slicer", "Dr One", seconds=3600)
    worklist.renew("a", "Slicer", seconds=600)
    clock.now = 3000
    assert not worklist.hand_out("a", "browser", "Dr Two")


def test_everything_is_given_back_at_once(worklist):
    for image in "abc":
        worklist.hand_out(image, "Slicer", "Dr One")
    worklist.hand_out("d", "browser", "Dr Two")
    worklist.leave_all("Slicer")
    assert worklist.taken("another") == {"d"}


def test_a_photograph_for_a_starting_viewer_is_kept_a_minute_for_whoever_opens_it(worklist, clock):
    assert worklist.hand_out("a", "", "")
    assert not worklist.hand_out("a", "", "")
    assert worklist.taken("browser") == {"a"}
    assert worklist.visits("a") == []
    assert worklist.enter("a", "browser", "Dr One") == []  # the viewer has started: it meets nobody
    assert worklist.taken("browser") == frozenset()
    worklist.hand_out("b", "", "")
    clock.now = 61
    assert worklist.hand_out("b", "browser", "Dr One")


def test_of_many_who_grasp_at_once_one_gets_it(worklist):
    images = [str(number) for number in range(50)]
    start = Barrier(16)

    def grasp(client):
        start.wait()
        return [image for image in images if worklist.hand_out(image, client, "")]

    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(grasp, [f"client {number}" for number in range(16)]))
    assert sorted(image for each in got for image in each) == sorted(images)


def test_offers_are_remembered_for_hours_and_forgotten_on_request(worklist, clock):
    worklist.note_offer("Slicer", "a")
    clock.now = 3600
    worklist.note_offer("Slicer", "b")
    assert worklist.offered("Slicer") == {"a", "b"}
    assert worklist.offered("another") == frozenset()
    clock.now = 9 * 3600 - 1
    assert worklist.offered("Slicer") == {"b"}
    worklist.forget_offers("Slicer")
    assert worklist.offered("Slicer") == frozenset()
