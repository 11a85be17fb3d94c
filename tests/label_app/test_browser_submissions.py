import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import ValidationError

from dermcheck.dicom.annotation_record import read_record
from dermcheck.dicom.segmentation import read_segmentation
from dermcheck.errors import ArgumentError, MaskError, NotFoundError
from dermcheck.label_app.answers import BROWSER, Reply
from dermcheck.label_app.browser_masks import encode_label_map
from dermcheck.label_app.browser_submissions import BrowserSubmission, SubmissionStore
from dermcheck.label_app.proposals import RecentProposals

ROWS, COLUMNS = 30, 40


@pytest.fixture
def submissions(store):
    return SubmissionStore(store)


@pytest.fixture
def submission(store):
    """A submission with a lesion in a corner; arguments replace fields."""

    def make(**fields) -> BrowserSubmission:
        label_map = np.zeros((ROWS, COLUMNS), np.uint8)
        label_map[2:9, 3:20] = 1
        values = {
            "id": uuid.uuid4(),
            "image": store.image_ids()[0],
            "rows": ROWS,
            "columns": COLUMNS,
            "mask": encode_label_map(label_map),
            "lesions": [{"value": 1, "diagnosis": "mel"}],
            "clinician": "Dr Test",
        }
        return BrowserSubmission(**(values | fields))

    return make


def kept(store, image):
    return [label for label in store.labels(image) if not label.automatic]


def test_a_submission_becomes_a_segmentation_beside_its_photograph(submissions, submission, store):
    sent = submission(started_from="prediction")
    done = submissions.submit(sent)
    assert (done.repeated, done.others) == (False, ())
    [label] = kept(store, sent.image)
    assert label.creator == "Dr Test"
    [segment] = read_segmentation(store.retrieve_label(label.sop_instance_uid), store.header(sent.image))
    assert segment.lesion_class.name == "mel"
    expected = np.zeros((ROWS, COLUMNS), bool)
    expected[2:9, 3:20] = True
    np.testing.assert_array_equal(segment.mask, expected)


def test_the_same_submission_is_stored_once_however_often_it_is_sent(submissions, submission, store):
    sent = submission()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(submissions.submit, [sent] * 8))
    assert sorted(answer.repeated for answer in answers) == [False] + [True] * 7
    assert len(kept(store, sent.image)) == 1


def test_a_second_clinician_is_told_and_both_are_kept(submissions, submission, store):
    first = submissions.submit(submission(clinician="Dr First"))
    second = submissions.submit(submission(clinician="Dr Second"))
    assert [label.creator for label in second.others] == ["Dr First"]
    assert len(kept(store, second.label.image_id)) == 2
    third = submissions.submit(submission(clinician="Dr Second", based_on=second.label.sop_instance_uid))
    assert third.others == ()
    assert first.label.sop_instance_uid != third.label.sop_instance_uid


def test_whoever_is_logged_in_counts_more_than_the_name_that_is_sent(submissions, submission):
    assert submissions.submit(submission(clinician="Somebody"), "jane").label.creator == "jane"


def test_an_empty_outline_means_no_lesion(submissions, submission, store):
    empty = encode_label_map(np.zeros((ROWS, COLUMNS), np.uint8))
    done = submissions.submit(submission(mask=empty, lesions=[]))
    segments = read_segmentation(
        store.retrieve_label(done.label.sop_instance_uid), store.header(done.label.image_id)
    )
    assert not any(segment.mask.any() for segment in segments)


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"image": "1.2.3"}, NotFoundError, "1.2.3"),
        ({"rows": COLUMNS, "columns": ROWS}, MaskError, "30 × 40.*40 × 30"),
        ({"mask": "x"}, MaskError, "damaged"),
        ({"lesions": []}, MaskError, r"values \[1\], which no lesion has"),
        ({"lesions": [{"value": 1}, {"value": 1}]}, ArgumentError, "different one for each"),
        ({"lesions": [{"value": 1, "diagnosis": "flu"}]}, ArgumentError, "'flu'"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(submissions, submission, store, fields, kind, words):
    before = sorted(store.image_ids()), [len(store.labels(image)) for image in store.image_ids()]
    with pytest.raises(kind, match=words):
        submissions.submit(submission(**fields))
    assert before == (sorted(store.image_ids()), [len(store.labels(image)) for image in store.image_ids()])


@pytest.mark.parametrize("fields", [{"id": "x"}, {"lesions": [{"value": 0}]}, {"extra": 1}, {"rows": "many"}])
def test_what_is_no_submission_is_refused(submission, fields):
    with pytest.raises(ValidationError):
        submission(**fields)


# ---- what was changed ----


@pytest.fixture
def answered(store):
    """What the models said of the first photograph, as the browser got it: a square, melanoma."""
    label_map = np.zeros((ROWS, COLUMNS), np.uint8)
    label_map[2:9, 3:13] = 1
    return Reply(
        {
            "rows": ROWS, "columns": COLUMNS, "mask": encode_label_map(label_map),
            "lesions": [{"value": 1, "diagnosis": "mel"}], "params": {"models": ("one", 1.0)},
        }
    )  # fmt: skip


def record_of(store, submitted):
    return read_record(store.retrieve_label(submitted.label.sop_instance_uid))


def test_the_label_says_how_long_it_took_and_what_was_changed(store, submission, answered):
    proposals = RecentProposals()
    proposals.remember(store.image_ids()[0], "dermcheck", BROWSER, answered)
    shown = {"models": ["one", 1]}  # through JSON and JavaScript
    sent = submission(started_from="prediction", prediction=shown, seconds=42.5)
    record = record_of(store, SubmissionStore(store, proposals).submit(sent))
    assert (record.seconds, record.started_from, record.proposed_class) == (42.5, "prediction", "mel")
    assert (record.proposed_px, record.added_px, record.removed_px) == (70, 49, 0)


@pytest.mark.parametrize("shown", [None, {"models": ["another", 1]}])
def test_nothing_is_said_of_a_proposal_that_is_not_known_any_more(store, submission, answered, shown):
    proposals = RecentProposals()
    proposals.remember(store.image_ids()[0], "dermcheck", BROWSER, answered)
    sent = submission(started_from="prediction", prediction=shown)
    record = record_of(store, SubmissionStore(store, proposals).submit(sent))
    assert (record.started_from, record.changed_px, record.proposed_class) == ("prediction", None, None)


def test_an_outline_that_began_with_a_label_is_compared_with_that(store, submissions, submission):
    first = submissions.submit(submission())
    label_map = np.zeros((ROWS, COLUMNS), np.uint8)
    label_map[2:9, 3:21] = 1
    uid = first.label.sop_instance_uid
    second = submissions.submit(
        submission(started_from="label", based_on=uid, mask=encode_label_map(label_map))
    )
    record = record_of(store, second)
    assert (record.based_on, record.proposed_class, record.changed_px) == (uid, "mel", 7)
    lost = submissions.submit(submission(started_from="label", based_on="1.2.3"))
    assert record_of(store, lost).changed_px is None


def test_only_the_latest_answers_are_remembered(store, answered):
    proposals = RecentProposals()
    image = store.image_ids()[0]
    proposals.remember(image, "dermcheck", BROWSER, answered)
    for number in range(300):
        proposals.remember(f"1.{number}", "dermcheck", BROWSER, answered)
    assert proposals.shown_in_browser(image, answered.params["params"]) is None
