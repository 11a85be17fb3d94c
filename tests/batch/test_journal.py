import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from dermcheck.batch.discovery import InputFile, Skipped, Unopened
from dermcheck.batch.journal import Journal
from dermcheck.batch.names import JOURNAL_NAME
from dermcheck.batch.outcomes import Failure, Prediction
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


# --- the inventory ----------------------------------------------------------------------------------


def predict(folder, *files: InputFile, settings=SETTINGS) -> None:
    with Journal(folder, settings) as journal:
        journal.take_inventory(files)
        for file in journal.waiting():
            journal.record(file, Prediction(file.relative.stem, EQUAL))


def test_every_input_has_a_row_before_anything_is_read(tmp_path):
    with Journal(tmp_path, SETTINGS) as journal:
        inventory = journal.take_inventory(
            [entry("b.jpg"), Skipped(Path(".x"), "hidden"), Unopened(Path("c"), "c: closed."), entry("a.jpg")]
        )
        assert (inventory.found, inventory.waiting, inventory.failed) == (4, 2, 1)
        assert inventory.skipped == {"hidden": 1}
        assert journal.counts() == {"waiting": 2, "skipped": 1, "failed": 1}
        assert [file.relative.name for file in journal.waiting()] == ["a.jpg", "b.jpg"]


def test_rows_of_a_list_keep_its_order(tmp_path):
    rows = [
        InputFile(Path("/photos") / name, Path(name), 1, 5, number.to_bytes(8, "big"))
        for number, name in enumerate(("z.jpg", "a.jpg"))
    ]
    predict(tmp_path, *rows)
    with Journal(tmp_path, SETTINGS) as journal:
        assert [row.image for row in journal.predictions()] == ["z", "a"]
        journal.take_inventory([InputFile(row.path, row.relative, 1, 5, row.place[::-1]) for row in rows])
        assert [row.image for row in journal.predictions()] == ["z", "a"]


def test_a_file_that_is_listed_twice_is_read_once(tmp_path):
    with Journal(tmp_path, SETTINGS) as journal:
        inventory = journal.take_inventory([entry("a.jpg"), entry("a.jpg")])
        assert inventory.waiting == 1
        assert inventory.skipped == {"listed twice": 1}


def test_what_changed_is_told_and_kept_unless_it_is_to_be_done_again(tmp_path):
    predict(tmp_path, entry("a.jpg"), entry("b.jpg"))
    changed = [entry("a.jpg"), entry("b.jpg", size=2)]
    with Journal(tmp_path, SETTINGS) as journal:
        inventory = journal.take_inventory(changed)
        assert (inventory.already, inventory.changed, inventory.waiting) == (2, 1, 0)
        assert inventory.first_changed == Path("b.jpg")
        assert [row.image for row in journal.predictions()] == ["a", "b"]
    with Journal(tmp_path, SETTINGS, redo="changed") as journal:
        assert journal.take_inventory(changed).waiting == 1
        assert [file.size for file in journal.waiting()] == [2]


def test_everything_is_done_again_on_wish(tmp_path):
    predict(tmp_path, entry("a.jpg"))
    with Journal(tmp_path, SETTINGS, redo="all") as journal:
        assert journal.take_inventory([entry("a.jpg")]).waiting == 1


def test_other_models_are_refused_with_the_count_and_taken_on_wish(tmp_path):
    predict(tmp_path, entry("a.jpg"), entry("b.jpg"))
    other = SETTINGS | {"classifier": "C 2.0"}
    with pytest.raises(ArgumentError, match=r"predict its 2 photographs again with --redo changed"):
        Journal(tmp_path, other)
    with Journal(tmp_path, other, redo="changed") as journal:
        journal.take_inventory([entry("a.jpg"), entry("b.jpg")])
        journal.record(next(journal.waiting()), Prediction("a", EQUAL))
    with Journal(tmp_path, other) as journal:  # interrupted: it goes on without the wish
        inventory = journal.take_inventory([entry("a.jpg"), entry("b.jpg")])
        assert (inventory.already, inventory.waiting) == (1, 1)


def test_another_input_is_refused_even_on_wish(tmp_path):
    predict(tmp_path, entry("a.jpg"))
    with pytest.raises(ArgumentError, match="made with INPUT /photos, not /other"):
        Journal(tmp_path, SETTINGS | {"INPUT": "/other"}, redo="all")


def test_a_prediction_without_its_files_is_made_again(tmp_path):
    predict(tmp_path, entry("a.jpg"), entry("b.jpg"))
    with Journal(tmp_path, SETTINGS) as journal:
        inventory = journal.take_inventory([entry("a.jpg"), entry("b.jpg")], lambda image: image == "a")
        assert (inventory.already, inventory.waiting) == (1, 1)


def test_an_input_that_cannot_be_listed_to_its_end_changes_nothing(tmp_path):
    predict(tmp_path, entry("a.jpg"))

    def breaking():
        yield entry("b.jpg")
        raise StorageError("the archive does not answer")

    with Journal(tmp_path, SETTINGS) as journal:
        with pytest.raises(StorageError):
            journal.take_inventory(breaking())
        assert [row.image for row in journal.predictions()] == ["a"]
        assert journal.counts() == {"predicted": 1}


def test_inputs_that_are_gone_are_forgotten(tmp_path):
    predict(tmp_path, entry("a.jpg"), entry("b.jpg"))
    with Journal(tmp_path, SETTINGS) as journal:
        assert journal.take_inventory([entry("b.jpg")]).gone == 1
        assert [row.image for row in journal.predictions()] == ["b"]


@pytest.mark.parametrize("closed", ["ward", ""])
def test_what_lies_in_a_folder_that_is_out_of_reach_today_is_not_forgotten(tmp_path, closed):
    photographs = [entry("a.jpg"), entry("ward/b.jpg"), entry("ward/b/c.jpg"), entry("warden.jpg")]
    predict(tmp_path, *photographs)
    elsewhere = [] if closed == "" else [photographs[0], photographs[3]]
    with Journal(tmp_path, SETTINGS) as journal:
        inventory = journal.take_inventory([*elsewhere, Unopened(Path(closed), "closed.")])
        assert (inventory.already, inventory.gone, inventory.failed, inventory.found) == (4, 0, 1, 5)
        assert len(list(journal.predictions())) == 4
    with Journal(tmp_path, SETTINGS) as journal:
        inventory = journal.take_inventory(photographs)
        assert (inventory.already, inventory.waiting, inventory.failed) == (4, 0, 0)


def test_skipped_files_are_not_opened_again_until_they_change(tmp_path):
    with Journal(tmp_path, SETTINGS) as journal:
        journal.take_inventory([entry("seg.dcm")])
        journal.record_skip(entry("seg.dcm"), "Segmentation Storage")
    with Journal(tmp_path, SETTINGS) as journal:
        assert journal.take_inventory([entry("seg.dcm")]).skipped == {"Segmentation Storage": 1}
        assert journal.take_inventory([entry("seg.dcm", size=2)]).waiting == 1


def test_files_and_their_folders_reach_the_disk_before_their_row(tmp_path, monkeypatch):
    steps = []
    synchronise = os.fsync
    monkeypatch.setattr(
        os,
        "fsync",
        lambda number: (steps.append(str(Path(f"/proc/self/fd/{number}").readlink())), synchronise(number)),
    )
    mask = tmp_path / "masks/ben/a.png"
    mask.parent.mkdir(parents=True)
    mask.write_bytes(b"mask")
    with Journal(tmp_path, SETTINGS) as journal:
        journal._database.set_trace_callback(steps.append)
        journal.record(entry("a.jpg"), Prediction("a", EQUAL), files=[mask])
        journal.commit()
        journal._database.set_trace_callback(None)
    commit = steps.index("COMMIT")
    for path in (mask, mask.parent, mask.parent.parent, tmp_path):
        assert steps.index(str(path)) < commit


def test_the_journal_is_in_wal_mode_and_synchronous(tmp_path):
    with Journal(tmp_path, SETTINGS) as journal:
        assert journal._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert journal._database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_journal_of_the_first_form_is_refused_in_words_and_stays(tmp_path):
    with closing(sqlite3.connect(tmp_path / JOURNAL_NAME)) as old:
        old.execute("CREATE TABLE images (position BLOB PRIMARY KEY)")
    before = (tmp_path / JOURNAL_NAME).read_bytes()
    with pytest.raises(ArgumentError, match="made by an earlier version of DermCheck"):
        Journal(tmp_path, SETTINGS)
    assert (tmp_path / JOURNAL_NAME).read_bytes() == before
