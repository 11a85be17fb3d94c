"""Folds: what is never split, what stays where it was, and what is said of folds that lack something."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermcheck.errors import StorageError
from dermcheck.lesions import CLASSES
from dermcheck.training.data import (
    DataError,
    DataSet,
    LabelledPhotograph,
    assign_folds,
    check_folds,
    write_split,
)
from dermcheck.training.data.data_set import PictureFile
from dermcheck.training.data.splits import stable_fold


def photograph(image_id: str, **known) -> LabelledPhotograph:
    return LabelledPhotograph(
        image_id=image_id, picture=PictureFile(Path(image_id)), **{"source": "drawn", **known}
    )


def folds(*photographs: LabelledPhotograph) -> list[int | None]:
    return [p.fold for p in assign_folds(DataSet("drawn", photographs)).photographs]


def side(fold: int) -> int:
    return max(0, fold - 7)


@st.composite
def data_sets(draw) -> DataSet:
    """Photographs whose groups, pixels and names overlap at random."""
    few = st.integers(0, 5)
    maybe = st.none() | few.map(str)
    return DataSet(
        "drawn",
        tuple(
            photograph(
                f"{draw(st.sampled_from(['ISIC_', 'x']))}{draw(few) if i % 2 else i}",
                source=draw(st.sampled_from(["a", "b"])),
                patient_id=draw(maybe),
                lesion_id=draw(maybe),
                content=draw(st.just("") | few.map(str)),
                fold=draw(st.none() | st.integers(-1, 9)),
            )
            for i in range(draw(st.integers(1, 12)))
        ),
    )


@given(data_sets())
def test_no_patient_lesion_picture_or_pixels_are_ever_on_two_sides(data_set):
    sides: dict[str, set[int]] = {}
    for p in assign_folds(data_set).photographs:
        assert p.fold is not None
        if p.fold == -1:
            continue
        named = [f"group {p.group}"]
        named += [f"lesion {p.source} {p.lesion_id}"] if p.lesion_id and p.patient_id else []
        named += [f"content {p.content}"] if p.content else []
        named += [f"isic {p.image_id}"] if p.image_id.startswith("ISIC_") else []
        for identity in named:
            sides.setdefault(identity, set()).add(side(p.fold))
    assert all(len(found) == 1 for found in sides.values())


@given(data_sets())
def test_assigning_twice_changes_nothing(data_set):
    once = assign_folds(data_set)
    assert assign_folds(once) == once


@given(data_sets(), st.randoms())
def test_the_order_does_not_matter(data_set, chance):
    shuffled = list(enumerate(data_set.photographs))
    chance.shuffle(shuffled)
    after = assign_folds(DataSet("drawn", tuple(p for _, p in shuffled))).photographs
    before = assign_folds(data_set).photographs
    assert [p.fold for p in after] == [before[i].fold for i, _ in shuffled]


def test_given_folds_are_honoured_and_followed_by_the_rest_of_the_group():
    found = folds(
        photograph("a", lesion_id="1", fold=9), photograph("b", lesion_id="1"), photograph("c", fold=3)
    )
    assert found == [9, 9, 3]


def test_without_folds_the_patient_decides_then_the_lesion_then_the_picture():
    same_patient = (
        photograph("a", patient_id="P", lesion_id="1"),
        photograph("b", patient_id="P", lesion_id="2"),
    )
    assert folds(*same_patient) == [stable_fold("patient:drawn/P")] * 2
    same_lesion = (photograph("a", lesion_id="1"), photograph("b", lesion_id="1"))
    assert folds(*same_lesion) == [stable_fold("lesion:drawn/1")] * 2
    assert folds(photograph("a")) == [stable_fold("image:drawn/a")]


def test_about_a_tenth_of_all_groups_is_in_each_fold():
    shares = np.bincount([stable_fold(f"patient:{i}") for i in range(5000)], minlength=10) / 5000
    assert shares.min() > 0.08
    assert shares.max() < 0.12


def test_of_equal_pixels_those_that_may_have_been_fitted_stay():
    data_set = DataSet(
        "drawn",
        (photograph("a", fold=9, content="x"), photograph("b", fold=2, content="x"), photograph("c", fold=9)),
    )
    assigned = assign_folds(data_set)
    assert [p.fold for p in assigned.photographs] == [-1, 2, 9]
    assert assigned.problems == ("Left out, as there are the same pixels in folds 0 to 7 (fit) too (1): a.",)


def test_given_folds_stay_where_new_photographs_repeat_their_pixels():
    reference = photograph("reference", fold=9, content="x")
    groups = (f"p{i}" for i in range(100))
    new = next(p for p in groups if stable_fold(f"patient:drawn/{p}") < 8)
    assert folds(reference, photograph("new", patient_id=new, content="x")) == [9, -1]


def test_isic_names_mean_the_same_picture_in_any_data_set():
    assert folds(photograph("ISIC_1", fold=0), photograph("ISIC_1", source="other", fold=9)) == [0, -1]
    assert folds(photograph("img_1", fold=0), photograph("img_1", source="other", fold=9)) == [0, 9]


# ---- the split as a file ----


def test_the_split_tells_the_fold_of_each_photograph(photographs, tmp_path):
    write_split(photographs, tmp_path / "split.csv")
    with (tmp_path / "split.csv").open(newline="") as file:
        split = {(row["source"], row["image_id"]): int(row["fold"]) for row in csv.DictReader(file)}
    assert split == {
        (source, image): fold
        for source, image, fold in zip(
            photographs.source, photographs.image_id, photographs.fold, strict=True
        )
    }
    assert [path.name for path in tmp_path.iterdir()] == ["split.csv"]


def test_a_split_that_cannot_be_written_is_named(photographs, tmp_path):
    with pytest.raises(StorageError, match=r"split\.csv: the split cannot be written \(No such file"):
        write_split(photographs, tmp_path / "nowhere" / "split.csv")


# ---- what folds lack ----


def test_complete_folds_lack_nothing(photographs):
    assert check_folds(photographs, "classification") == []
    assert check_folds(photographs, "segmentation") == []


def test_a_class_without_photographs_in_a_fold_is_named(photographs):
    diagnosis = photographs.diagnosis.copy()
    diagnosis[(photographs.fold == 9) & (diagnosis == CLASSES.index("df"))] = -1
    diagnosis[(photographs.fold < 8) & (diagnosis == CLASSES.index("vasc"))] = -1
    lacking = dataclasses.replace(photographs, diagnosis=diagnosis)
    assert check_folds(lacking, "classification") == [
        "No photograph of vasc is in folds 0 to 7 (fit): the model cannot learn it.",
        "No photograph of df is in fold 9 (report): no figure of it.",
    ]


def test_a_single_correction_is_refused_in_words(photographs):
    single = dataclasses.replace(photographs, diagnosis=np.where(np.arange(230) == 0, 4, -1))
    with pytest.raises(
        DataError, match=r"Photographs with a diagnosis: 1, and none of them is in fold 8 \(select\)"
    ):
        check_folds(single, "classification")
    without = dataclasses.replace(photographs, has_mask=np.zeros(230, bool))
    with pytest.raises(DataError, match="Photographs with a mask: 0, and none of them is in folds 0 to 7"):
        check_folds(without, "segmentation")


def test_nothing_to_report_on_is_said(photographs):
    unreported = dataclasses.replace(photographs, fold=np.where(photographs.fold == 9, 0, photographs.fold))
    assert check_folds(unreported, "segmentation") == [
        "No photograph of fold 9 (report) has a mask: the model's accuracy cannot be reported."
    ]
