from contextlib import suppress
from pathlib import Path

import pytest

from dermcheck.batch.discovery import InputFile
from dermcheck.batch.journal import Failure, Journal, Prediction
from dermcheck.batch.names import JOURNAL_NAME
from dermcheck.errors import ArgumentError, StorageError
from dermcheck.lesions import CLASSES

SETTINGS = {"INPUT": "/photos", "classifier": "C 1.0"}
EQUAL = dict.fromkeys(CLASSES, 1 / 7)


def entry(name: str, size: int = 1, modified_ns: int = 5) -> InputFile:
    return InputFile(Path("/photos") / name, Path(name), size, modified_ns)


def test_what_is_recorded_is_found_after_reopening(tmp_path):
    with Journal(tmp_path, SETTINGS) as journal:
        journal.record(entry("a.jpg"), Prediction("a", EQUAL))
    with Journal(tmp_path, SETTINGS) as journal:
        assert journal.prediction(entry("a.jpg")) == Prediction("a", EQUAL)


@pytest.mark.parametrize("changed", [entry("b.jpg"), entry("a.jpg", size=2), entry("a.jpg", modified_ns=6)])
def test_another_or_changed_file_has_no_prediction(tmp_path, changed):
    with Journal(tmp_path, SETTINGS) as journal:
        journal.record(entry("a.jpg"), Prediction("a", EQUAL))
        assert journal.prediction(changed) is None


def test_predictions_come_in_input_order_whatever_the_order_of_work(tmp_path):
    with Journal(tmp_path, SETTINGS) as journal:
        for name in ("b.jpg", "a/z.jpg", "a.jpg"):
            journal.record(entry(name), Prediction(name, EQUAL))
        assert [row.image for row in journal.predictions()] == ["a/z.jpg", "a.jpg", "b.jpg"]


def test_a_new_prediction_replaces_the_old_one(tmp_path):
    with Journal(tmp_path, SETTINGS) as journal:
        journal.record(entry("a.jpg"), Prediction("a", EQUAL))
        journal.record(entry("a.jpg", size=9), Prediction("a", EQUAL | {"mel": 0.5}))
        [row] = journal.predictions()
    assert row.probabilities["mel"] == 0.5


def test_a_name_belongs_to_the_file_that_had_it_first(tmp_path):
    with Journal(tmp_path, SETTINGS) as journal:
        journal.record(entry("a.jpg"), Prediction("a", EQUAL))
        assert journal.holder("A", Path("b/A.jpg")) == Path("a.jpg")
        assert journal.holder("a", Path("a.jpg")) is None


def test_a_failure_keeps_its_name_only_if_it_says_so(tmp_path):
    with Journal(tmp_path, SETTINGS) as journal:
        journal.record_failure(Path("a.jpg"), Failure("a", "broken", keeps_name=True))
        journal.record_failure(Path("b.dcm"), Failure("1.2.3", "broken"))
        assert journal.holder("a", Path("c.jpg")) == Path("a.jpg")
        assert journal.holder("1.2.3", Path("c.dcm")) is None


def test_before_a_new_walk_failures_and_files_that_are_gone_are_forgotten(tmp_path):
    (tmp_path / "a.jpg").touch()
    with Journal(tmp_path, SETTINGS) as journal:
        journal.record(entry("a.jpg"), Prediction("a", EQUAL))
        journal.record(entry("gone.jpg"), Prediction("gone", EQUAL))
        journal.record_failure(Path("broken.jpg"), Failure("broken", "reason"))
        journal.forget_gone(tmp_path)
        assert [row.image for row in journal.predictions()] == ["a"]
        assert list(journal.failures()) == []


@pytest.mark.parametrize("name", ["INPUT", "classifier"])
def test_other_settings_are_refused_with_both_values(tmp_path, name):
    with Journal(tmp_path, SETTINGS):
        pass
    with pytest.raises(ArgumentError, match=f"made with {name} {SETTINGS[name]}, not other. Choose another"):
        Journal(tmp_path, SETTINGS | {name: "other"})


def test_after_a_refusal_the_right_settings_still_work(tmp_path):
    with Journal(tmp_path, SETTINGS) as journal:
        journal.record(entry("a.jpg"), Prediction("a", EQUAL))
    with pytest.raises(ArgumentError):
        Journal(tmp_path, {"INPUT": "other"})
    with Journal(tmp_path, SETTINGS) as journal:
        assert journal.prediction(entry("a.jpg")) is not None


def test_a_second_batch_in_the_same_process_is_refused(tmp_path):
    with Journal(tmp_path, SETTINGS), pytest.raises(ArgumentError, match="another batch is writing"):
        Journal(tmp_path, SETTINGS)


def test_a_damaged_journal_is_refused_in_words(tmp_path):
    (tmp_path / JOURNAL_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="record of this folder is damaged"):
        Journal(tmp_path, SETTINGS)


def test_an_error_while_open_keeps_what_was_recorded(tmp_path):
    with suppress(KeyboardInterrupt), Journal(tmp_path, SETTINGS) as journal:
        journal.record(entry("a.jpg"), Prediction("a", EQUAL))
        raise KeyboardInterrupt
    with Journal(tmp_path, SETTINGS) as journal:
        assert journal.prediction(entry("a.jpg")) is not None
