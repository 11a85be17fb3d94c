"""A second batch over the same photographs computes nothing and writes the same bytes; others compute."""

import itertools
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from dermcheck.batch import BatchSettings, run_batch
from dermcheck.batch.discovery import walk
from dermcheck.batch.inputs import LocalSource
from dermcheck.batch.known_answers import KnownAnswers
from dermcheck.batch.pipeline import Pipeline
from dermcheck.batch.stages import Answer, Refused, Wanted
from dermcheck.inference import Predictor

WANTED = Wanted(True, True, 128, datetime(2026, 11, 28, tzinfo=timezone.utc))


def no_networks() -> Predictor:
    raise AssertionError("the networks were asked")


def outcomes(
    folder: Path, load, root: Path, wanted: Wanted = WANTED, **options
) -> dict[str, Answer | Refused]:
    source = LocalSource(folder, folder.parent / "out")
    with (
        KnownAnswers(root, ("a model",), **options) as answers,
        Pipeline(wanted, load, source, answers=answers) as pipeline,
    ):
        return {file.path.name: found for file, found in pipeline.run(walk(folder))}


@pytest.fixture
def photographs(tmp_path, draw_photo, draw_dicom) -> Path:
    draw_photo(tmp_path / "in/a.jpg", 1, rows=300, columns=400)
    draw_photo(tmp_path / "in/b.png", 2)
    draw_dicom(tmp_path / "in/c.dcm", 3)
    (tmp_path / "in/d.jpg").write_bytes((tmp_path / "in/a.jpg").read_bytes()[:2000])
    return tmp_path / "in"


@pytest.mark.parametrize(("masks", "dicom"), [*itertools.product([False, True], repeat=2)])
def test_the_second_pass_computes_nothing_and_gives_the_same_bytes(photographs, predictor, masks, dicom):
    root = photographs.parent / "cache"
    wanted = replace(WANTED, masks=masks, dicom=dicom)
    first = outcomes(photographs, lambda: predictor, root, replace(wanted, masks=False, dicom=False))
    expected = outcomes(photographs, lambda: predictor, photographs.parent / "empty cache", wanted)
    again = outcomes(photographs, no_networks, root, wanted)
    assert isinstance(again["d.jpg"], Refused), "what failed is tried again"
    for name in ("a.jpg", "b.png", "c.dcm"):
        assert again[name].files == expected[name].files
        assert list(again[name].files) == list(expected[name].files)
        assert again[name].prediction == expected[name].prediction == first[name].prediction
        assert again[name].sop_instance_uid == expected[name].sop_instance_uid


def test_nothing_that_names_a_photograph_is_kept(photographs, predictor):
    root = photographs.parent / "cache"
    answer = outcomes(photographs, lambda: predictor, root)["c.dcm"]
    kept = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    assert b"probabilities" in kept
    for uid in (answer.sop_instance_uid, answer.prediction.details["study_instance_uid"]):
        assert uid.encode() not in kept
    assert b"a.jpg" not in kept
    assert answer.digest not in kept


def test_another_suffix_may_mean_another_way_of_reading(photographs, predictor):
    root = photographs.parent / "cache"
    outcomes(photographs, lambda: predictor, root)
    (photographs / "a.jpg").rename(photographs / "a.nef")  # camera's raw files are refused
    assert isinstance(outcomes(photographs, no_networks, root)["a.nef"], Refused)


def test_nothing_is_taken_from_it_where_all_shall_be_predicted_again(photographs, predictor):
    root = photographs.parent / "cache"
    outcomes(photographs, lambda: predictor, root)
    with pytest.raises(AssertionError, match="the networks were asked"):
        outcomes(photographs, no_networks, root, reads=False)


def test_other_conditions_never_meet_an_answer(tmp_path, photographs, predictor, monkeypatch):
    def known(conditions: tuple[str, ...]) -> bool:
        with KnownAnswers(root, conditions) as answers:
            return answers.get(digest, ".jpg") is not None

    root = tmp_path / "cache"
    digest = outcomes(photographs, lambda: predictor, root)["a.jpg"].digest
    assert known(("a model",))
    assert not known(("another model",))
    monkeypatch.setenv("DERMCHECK_BACKEND", "another back end")
    assert not known(("a model",))
    monkeypatch.undo()
    monkeypatch.setattr("dermcheck.batch.known_answers._own_code", lambda: "other code")
    assert not known(("a model",))


def test_a_batch_by_other_models_or_with_other_shares_computes(
    tmp_path, draw_photo, models, other_models, read_table, monkeypatch
):
    draw_photo(tmp_path / "in/a.png", 1)

    def row(output: str, folder: Path) -> dict[str, str]:
        run_batch(BatchSettings(tmp_path / "in", tmp_path / output, folder, masks=True))
        return read_table(tmp_path / output / "predictions.csv")[0]

    first = row("first", models)
    other = row("other", other_models)
    assert first != other
    assert row("again", models) == first
    monkeypatch.setenv("DERMCHECK_PRIOR", "akiec=10%,bcc=10%,bkl=10%,df=10%,mel=20%,nv=20%,vasc=20%")
    assert row("shares", models) not in (first, other)
    masks = [(tmp_path / output / "masks/a_segmentation.png").read_bytes() for output in ("first", "again")]
    assert masks[0] == masks[1]
