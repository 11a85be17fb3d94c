from dermcheck.lesions import CLASSES
from dermcheck.training.photographs import SIDE


def test_both_data_sets_are_opened_with_their_diagnoses(photographs):
    assert photographs.images.shape == (230, SIDE, SIDE, 3)
    assert photographs.masks.max() == 1
    assert [CLASSES[i] for i in photographs.diagnosis[:7]] == list(CLASSES)
    assert set(photographs.diagnosis[210:225]) == {CLASSES.index("nv")}
    assert set(photographs.diagnosis[225:]) == {-1}


def test_masks_lie_on_their_lesions(photographs):
    dark = photographs.images[:7].astype(int).sum(3) < 450
    overlap = (dark & (photographs.masks[:7] > 0)).sum((1, 2)) / photographs.masks[:7].sum((1, 2))
    assert overlap.min() > 0.95


def test_folds_are_kept_apart(photographs):
    train, select, report = (set(photographs.rows(r)) for r in (range(8), range(8, 9), range(9, 10)))
    assert not train & select
    assert not train & report
    assert not select & report
    assert set(photographs.source[photographs.rows(range(8, 9), "ham10000")]) == {"ham10000"}
