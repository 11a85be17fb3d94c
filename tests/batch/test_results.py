import os
from pathlib import Path

import numpy as np
import pytest

from dermcheck.batch.outcomes import Failure, Prediction
from dermcheck.batch.results import ResultFolder, remarks
from dermcheck.dicom.author import Algorithm
from dermcheck.errors import StorageError
from dermcheck.inference.report import LesionReport
from dermcheck.inference.rules import Caution
from dermcheck.lesions import CLASSES, LESION_CLASSES


@pytest.fixture
def folder(tmp_path: Path) -> ResultFolder:
    results = ResultFolder(tmp_path / "out", masks=True, dicom=False)
    results.clear_partial()
    return results


def test_each_probability_stands_under_its_own_column(folder):
    probabilities = {name: index / 100 for index, name in enumerate(CLASSES)}
    folder.write_tables(lambda: [Prediction("a", probabilities)], [])
    assert (folder.path / "predictions.csv").read_text() == (
        "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
        "a,0.040000,0.050000,0.010000,0.000000,0.020000,0.030000,0.060000\n"
    )


def test_commas_quotes_and_newlines_are_quoted(folder, read_table):
    folder.write_tables(list, [Failure('a,"b"\nc', "one,\ntwo")])
    assert read_table(folder.path / "failures.csv") == [{"image": 'a,"b"\nc', "reason": "one,\ntwo"}]


def test_a_table_that_cannot_be_completed_leaves_the_old_one(folder):
    folder.write_tables(list, [Failure("a", "old")])

    def breaking():
        yield Failure("b", "new")
        raise OSError(28, os.strerror(28))

    with pytest.raises(
        StorageError, match=r"failures\.csv: this result cannot be saved \(No space left on device\)"
    ):
        folder.write_tables(list, breaking())
    assert (folder.path / "failures.csv").read_text() == "image,reason\na,old\n"


def test_what_a_killed_batch_was_writing_is_cleared_away(folder):
    (folder.path / ".partial/result-1").write_bytes(b"half")
    folder.clear_partial()
    assert list((folder.path / ".partial").iterdir()) == []


def test_an_image_without_its_mask_is_not_complete(folder):
    assert not folder.has_all("a/b")
    assert folder.store("a/b", {"mask": b"picture"}) == [folder.path / "masks/a/b_segmentation.png"]
    assert folder.has_all("a/b")
    assert (folder.path / "masks/a/b_segmentation.png").read_bytes() == b"picture"


def test_a_file_in_the_place_of_a_folder_is_a_sentence(folder):
    (folder.path / "masks").write_bytes(b"")
    with pytest.raises(StorageError, match="this result cannot be saved"):
        folder.store("a", {"mask": b"picture"})


def test_cautions_say_yes_no_or_nothing(tmp_path):
    report = LesionReport(
        mask=np.ones((2, 2), bool),
        probabilities=dict.fromkeys(CLASSES, 1 / 7),
        decision=LESION_CLASSES[4],
        uncertainty=1.0,
        classifier=Algorithm("c", "1", "0" * 64),
        outliner=Algorithm("o", "1", "0" * 64),
        caution=Caution(
            confidence=0.25,
            not_sure=True,
            possible_classes=(LESION_CLASSES[4], LESION_CLASSES[5]),
            lesion_photograph_score=0.125,
            is_lesion_photograph=False,
        ),
    )
    folder = ResultFolder(tmp_path / "out", masks=False, dicom=False)
    folder.clear_partial()
    folder.write_tables(lambda: [Prediction("a", report.probabilities, remarks(report))], [])
    assert (folder.path / "cautions.csv").read_text() == (
        "image,decision,confidence,not_sure,possible_classes,melanoma_not_excluded,lesion_photograph_score,"
        "is_lesion_photograph\na,mel,0.2500,yes,mel nv,,0.1250,no\n"
    )
