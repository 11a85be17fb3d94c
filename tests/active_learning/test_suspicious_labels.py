"""Wrong labels that were planted into made-up embeddings are found; and what cannot be checked is said."""

import numpy as np
import pytest

from dermcheck.active_learning.doubtful_studies import check_studies
from dermcheck.active_learning.suspicious_labels import (
    NothingToCheckError,
    contradicted,
    find_suspicious,
    out_of_fold_probabilities,
)
from dermcheck.datastore import StudyStore
from dermcheck.errors import ArgumentError
from dermcheck.lesions import CLASSES


@pytest.fixture(scope="module")
def clouds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """600 embeddings around one centre a class, most of them naevi, two photographs a lesion."""
    chance = np.random.default_rng(0)
    lesions = chance.choice(7, 300, p=(0.05, 0.05, 0.1, 0.03, 0.1, 0.64, 0.03))
    labels = lesions.repeat(2)
    centres = chance.normal(0, 1, (7, 20)) * 2
    return (
        (centres[labels] + chance.normal(0, 1, (600, 20))).astype(np.float32),
        labels.astype(np.int64),
        np.array([f"lesion {number // 2}" for number in range(600)]),
    )


def test_planted_wrong_labels_come_first(clouds):
    embedding, truth, lesions = clouds
    chance = np.random.default_rng(1)
    planted = chance.choice(600, 30, replace=False)
    labels = truth.copy()
    labels[planted] = (labels[planted] + chance.integers(1, 7, 30)) % 7
    found = find_suspicious(out_of_fold_probabilities(embedding, labels, lesions), labels, 0.2)
    rows = [each.row for each in found]
    assert len(set(rows) & set(planted)) >= 18
    assert len(set(rows) - set(planted)) <= 2
    assert [each.confidence for each in found] == sorted(each.confidence for each in found)
    right = [each for each in found if each.row in set(planted)]
    assert np.mean([each.likely == truth[each.row] for each in right]) > 0.9


def test_nobody_is_asked_about_a_lesion_that_taught_the_head(clouds, monkeypatch):
    embedding, labels, lesions = clouds
    from dermcheck.active_learning import suspicious_labels

    original = suspicious_labels._answers
    seen = []

    def spy(known, given, asked, seed):
        seen.append(({each.tobytes() for each in known}, {each.tobytes() for each in asked}))
        return original(known, given, asked, seed)

    monkeypatch.setattr(suspicious_labels, "_answers", spy)
    out_of_fold_probabilities(embedding, labels, lesions)
    lesion_of = {row.tobytes(): name for row, name in zip(embedding, lesions, strict=True)}
    assert len(seen) == 5
    for known, asked in seen:
        assert not {lesion_of[each] for each in known} & {lesion_of[each] for each in asked}
    assert sum(len(asked) for _, asked in seen) == 600


def test_the_confident_joint_by_hand():
    """Thresholds are the mean self-confidences 0.7 and 0.5: row 1 counts as class 1, row 3 as nothing."""
    probabilities = np.zeros((4, 7))
    probabilities[:, :2] = [[0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    labels = np.array([0, 0, 1, 1])
    found, likely = contradicted(probabilities, labels)
    assert found.tolist() == [False, True, False, False]
    assert likely.tolist() == [0, 1, 1, 1]


def test_a_class_nobody_has_is_never_likely(clouds):
    embedding, labels, lesions = clouds
    keep = labels != 3
    probabilities = out_of_fold_probabilities(embedding[keep], labels[keep], lesions[keep])
    assert (probabilities[:, 3] == 0).all()
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(keep.sum()))
    assert all(each.likely != 3 for each in find_suspicious(probabilities, labels[keep], 1.0))


def test_a_class_with_one_lesion_only_is_answered_too():
    chance = np.random.default_rng(2)
    labels = np.array([5] * 30 + [4])
    probabilities = out_of_fold_probabilities(
        chance.normal(0, 1, (31, 4)).astype(np.float32), labels, [str(number) for number in range(31)]
    )
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(31))


@pytest.mark.parametrize(
    ("labels", "groups"),
    [([], []), ([5], ["a"]), ([5, 5, 5], ["a", "b", "c"]), ([4, 5], ["a", "a"])],
)
def test_too_few_labels_are_refused_in_words(labels, groups):
    embedding = np.ones((len(labels), 3), np.float32)
    with pytest.raises(NothingToCheckError, match="at least two of each"):
        out_of_fold_probabilities(embedding, np.array(labels, np.int64), groups)


@pytest.mark.parametrize("embedding", [np.ones((2, 3)), np.ones(3), np.full((3, 2), np.nan)])
def test_embeddings_that_do_not_fit_are_refused_in_words(embedding):
    with pytest.raises(ArgumentError, match="embedding"):
        out_of_fold_probabilities(embedding, np.array([1, 2, 1]), ["a", "b", "c"])


def test_a_wrong_label_in_real_studies_is_named(make_corrections, tmp_path):
    """Drawn lesions, whose colour tells the class; the label of one says something else."""
    from dermcheck.dicom.author import Clinician
    from dermcheck.dicom.segmentation import LesionSegment, read_segmentation, write_segmentation
    from dermcheck.lesions import LESION_CLASSES

    folder = make_corrections(tmp_path / "studies", 42)
    with StudyStore.open(folder, tmp_path / "cache", watch=False) as store:
        image = next(
            each
            for each in store.image_ids()
            if read_segmentation(
                store.retrieve_label(store.latest_final(each).sop_instance_uid), store.header(each)
            )[0].lesion_class.name == "nv"
        )  # fmt: skip
        mask = np.ones((64, 64), bool)
        wrong = write_segmentation(
            store.retrieve(image), [LesionSegment(mask, LESION_CLASSES[0])], Clinician("Hasty")
        )
        store.store(wrong)

        def embed(photographs):
            """Which of seven colours the middle of the picture is nearest to."""
            wanted = np.array([(label * 30, 120 - label * 15, label * 20) for label in range(7)])
            distances = [np.abs(pixels[30:34, 30:34].mean((0, 1)) - wanted).sum(1) for pixels in photographs]
            return np.eye(7, dtype=np.float32)[np.argmin(distances, axis=1)] * 10

        doubtful, checked, problems = check_studies(store, embed, most_confidence=0.3)
    assert (checked, problems) == (42, [])
    worst = doubtful[0]
    assert (worst.image, worst.reader, worst.given, worst.likely) == (image, "Hasty", CLASSES[0], "nv")
    assert len(doubtful) <= 3
