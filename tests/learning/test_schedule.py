"""When trainings start by themselves: each rule alone, in local time."""

from datetime import datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermcheck.errors import ArgumentError
from dermcheck.learning.attempts import Attempts
from dermcheck.learning.schedule import Attempt, Night, Schedule, Standing, decide

NIGHT = "22:00-06:00"
NOON, EVENING, MORNING = datetime(2026, 5, 2, 12), datetime(2026, 5, 2, 22, 30), datetime(2026, 5, 3, 5)


def standing(new: int, corrections: int = 100, attempt: Attempt | None = None) -> Standing:
    return Standing(corrections=corrections, new=new, attempt=attempt)


def after(number: int, **facts) -> tuple:
    plan = decide(Schedule(after=10), standing(number, **facts), NOON)
    return plan.why, plan.missing


def at_night(now: datetime, new: int = 3, attempt: Attempt | None = None) -> tuple:
    plan = decide(Schedule.parse(None, NIGHT), standing(new, attempt=attempt), now)
    return plan.why, plan.at


def test_without_settings_nothing_starts():
    schedule = Schedule.parse("", None)
    assert not schedule.is_on
    assert decide(schedule, standing(1000), EVENING).why == "off"


def test_enough_new_corrections_start_it():
    assert after(0) == ("nothing_new", 10)
    assert after(9) == ("collecting", 1)
    assert after(10)[0] == "due"
    assert decide(Schedule(after=10), standing(12), NOON).occasion == "by itself after 12 new corrections"


def test_fewer_than_a_training_needs_never_start_it():
    plan = decide(Schedule(after=1, night=Night.parse(NIGHT)), standing(19, 19), EVENING)
    assert (plan.why, plan.missing) == ("too_few", 1)


def test_at_night_one_new_correction_is_enough_but_none_is_not():
    assert at_night(NOON) == ("collecting", datetime(2026, 5, 2, 22))
    assert at_night(EVENING)[0] == at_night(MORNING)[0] == "due"
    assert at_night(EVENING, new=0)[0] == "nothing_new"


@pytest.mark.parametrize("end", ["failed", "stopped"])
def test_what_failed_or_was_stopped_waits_for_further_corrections_or_the_next_night(end):
    attempt = Attempt(at=datetime(2026, 5, 2, 22, 15), new=12, end=end)
    assert after(12, attempt=attempt) == ("collecting", 10)
    assert after(22, attempt=attempt)[0] == "due"
    assert at_night(MORNING, attempt=attempt) == ("collecting", datetime(2026, 5, 3, 22))
    assert at_night(datetime(2026, 5, 3, 23), attempt=attempt)[0] == "due"


def test_what_the_end_of_the_server_interrupted_goes_on():
    attempt = Attempt(at=NOON, new=12)
    plan = decide(Schedule(after=10), standing(12, attempt=attempt), NOON)
    assert (plan.due, plan.occasion) == (True, "going on where the server was ended")


def test_after_a_roll_back_or_a_lost_label_an_attempt_does_not_count_against_new_ones():
    attempt = Attempt(at=NOON, new=50, end="failed")
    assert after(8, attempt=attempt) == ("collecting", 10)


@given(start=st.times(), end=st.times(), now=st.datetimes(datetime(2000, 1, 2), datetime(2100, 1, 1)))
def test_a_night_is_the_present_or_the_next_one(start: time, end: time, now: datetime):
    start, end = (moment.replace(second=0, microsecond=0) for moment in (start, end))
    if start == end:
        return
    begin, stop = Night(start, end).window(now)
    assert begin < stop
    assert now < stop
    assert (begin.time(), stop.time()) == (start, end)
    assert (stop - begin).total_seconds() <= 86400
    assert (begin - now).total_seconds() <= 86400


@pytest.mark.parametrize(
    "text", ["22", "22:00", "25:00-06:00", "22:00-22:00", "22:60-01:00", "at night", "-"]
)
def test_hours_that_are_none_are_refused_in_words(text):
    with pytest.raises(ArgumentError, match="expected a beginning and an end like 22:00-06:00"):
        Schedule.parse(None, text)


@pytest.mark.parametrize("number", ["many", "1.5", "0", "-3", 10**9])
def test_numbers_that_are_none_are_refused_in_words(number):
    with pytest.raises(ArgumentError, match="expected"):
        Schedule.parse(number, None)


def test_attempts_outlive_a_restart(tmp_path):
    attempt = Attempt(at=NOON, new=7, end="failed", answer="the disk is full – schade")
    Attempts(tmp_path).set("classification", attempt)
    assert Attempts(tmp_path).get("classification") == attempt
    assert Attempts(tmp_path).get("segmentation") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"classification": 3}',
        '{"classification": {"at": "never", "new": 1, "end": "", "answer": ""}}',
    ],
)
def test_damaged_attempts_are_begun_anew(tmp_path, content, caplog):
    Attempts(tmp_path).set("classification", Attempt(at=NOON, new=7))
    (tmp_path / "training/automatic.json").write_text(content)
    attempts = Attempts(tmp_path)
    assert attempts.get("classification") is None
    assert "begun anew" in caplog.text
    attempts.set("segmentation", Attempt(at=NOON, new=1))
    assert Attempts(tmp_path).get("segmentation").new == 1
