"""Data sets as they are downloaded, and what is wrong with them in a sentence."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermcheck.lesions import CLASSES
from dermcheck.training.data import DataError, open_data_set

from .conftest import write_table

ONE_HOT = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


def one_hot(image: str, chosen: str) -> dict[str, object]:
    return {"image": image, **{name: float(name == chosen) for name in ONE_HOT}}


def names(data_set):
    return [photograph.image_id for photograph in data_set.photographs]


def diagnoses(data_set):
    return [None if p.diagnosis is None else CLASSES[p.diagnosis] for p in data_set.photographs]


# ---- the layouts ----


def test_ham10000_as_dataverse_has_it(draw_pictures):
    masks = "HAM10000_segmentations_lesion_tschandl"
    draw_pictures(["ISIC_1"], folder="download", pictures="HAM10000_images_part_1", masks=masks)
    root = draw_pictures(["ISIC_2"], folder="download", pictures="HAM10000_images_part_2", masks=masks)
    known = {"dx_type": "histo", "age": "60.0", "sex": "male", "localization": "back"}
    write_table(
        root / "HAM10000_metadata.csv",
        {"lesion_id": "HAM_1", "image_id": "ISIC_1", "dx": "mel", **known},
        {"lesion_id": "HAM_1", "image_id": "ISIC_2", "dx": "mel", **known, "age": "", "sex": "unknown"},
    )
    data_set = open_data_set(root)
    assert (data_set.name, names(data_set), diagnoses(data_set)) == (
        "ham10000",
        ["ISIC_1", "ISIC_2"],
        ["mel", "mel"],
    )
    first, second = data_set.photographs
    assert (first.age, first.sex, first.site, first.lesion_id) == (60.0, "male", "back", "HAM_1")
    assert (second.age, second.sex) == (None, None)
    assert first.group == second.group
    assert first.mask is not None
    assert first.mask.read().any()
    assert data_set.problems == ()


@pytest.mark.parametrize("name", ["HAM10000_metadata", "HAM10000_metadata.tab"])
def test_the_metadata_table_may_be_tab_separated(draw_pictures, name):
    root = draw_pictures(["ISIC_1"])
    write_table(root / name, {"lesion_id": "HAM_1", "image_id": "ISIC_1", "dx": "bkl"}, delimiter="\t")
    assert diagnoses(open_data_set(root)) == ["bkl"]


def test_isic_2018_task_1_has_pictures_and_masks_only(draw_pictures):
    root = draw_pictures(
        ["ISIC_1", "ISIC_2"],
        pictures="ISIC2018_Task1-2_Training_Input",
        masks="ISIC2018_Task1_Training_GroundTruth",
    )
    Image.new("L", (4, 4)).save(root / "ISIC2018_Task1-2_Training_Input" / "ISIC_1_superpixels.png")
    data_set = open_data_set(root)
    assert (data_set.name, names(data_set), diagnoses(data_set)) == (
        "isic2018_task1",
        ["ISIC_1", "ISIC_2"],
        [None, None],
    )
    assert all(photograph.mask for photograph in data_set.photographs)


def test_diagnoses_of_task_1_come_from_a_table_beside(draw_pictures, tmp_path):
    root = draw_pictures(["ISIC_1", "ISIC_2"])
    write_table(root / "labels.csv", {"image_id": "ISIC_1", "fold": 3}, {"image_id": "ISIC_2", "fold": 9})
    beside = write_table(tmp_path / "diagnoses.csv", {"image_id": "ISIC_2", "dx": "nv", "fold": 9})
    data_set = open_data_set(root, diagnoses=beside, name="task1")
    assert (data_set.name, diagnoses(data_set)) == ("task1", [None, "nv"])
    assert [photograph.fold for photograph in data_set.photographs] == [3, 9]


def test_isic_2018_task_3_has_one_column_a_class_and_groups_lesions(draw_pictures):
    root = draw_pictures(["ISIC_1", "ISIC_2"], pictures="ISIC2018_Task3_Training_Input", masks=None)
    truth = root / "ISIC2018_Task3_Training_GroundTruth"
    truth.mkdir()
    write_table(truth / "truth.csv", one_hot("ISIC_1", "AKIEC"), one_hot("ISIC_2", "VASC"))
    alone = open_data_set(root)
    assert (alone.name, diagnoses(alone)) == ("isic2018_task3", ["akiec", "vasc"])
    assert "Neither lesions nor patients are known" in alone.problems[0]
    write_table(
        root / "groupings.csv",
        {"image": "ISIC_1", "lesion_id": "HAM_7", "diagnosis_confirm_type": "histopathology"},
        {"image": "ISIC_2", "lesion_id": "HAM_8", "diagnosis_confirm_type": "consensus"},
    )
    grouped = open_data_set(root)
    assert [photograph.lesion_id for photograph in grouped.photographs] == ["HAM_7", "HAM_8"]
    assert (grouped.name, grouped.problems) == ("ham10000", ())


def test_masks_may_lie_in_another_folder(draw_pictures):
    root = draw_pictures(["a", "b"], masks=None)
    others = draw_pictures(["a"], folder="other", pictures="unused")
    write_table(root / "labels.csv", *({"image_id": n, "patient_id": "p", "dx": "nv"} for n in "ab"))
    data_set = open_data_set(root, masks=others / "masks")
    assert [photograph.mask is not None for photograph in data_set.photographs] == [True, False]
    assert data_set.problems == ("Photographs without a mask, which teach no outline (1): b.",)


# ---- odd, but usable ----


def test_missing_pictures_masks_and_lines_are_reported(draw_pictures):
    root = draw_pictures(["a", "b"])
    draw_pictures(["stranger"], masks=None)
    (root / "masks" / "b_segmentation.png").rename(root / "masks" / "lost_segmentation.png")
    rows = ({"image_id": name, "lesion_id": name, "dx": "nv"} for name in ("a", "b", "gone"))
    write_table(root / "labels.csv", *rows)
    data_set = open_data_set(root)
    assert names(data_set) == ["a", "b"]
    assert data_set.problems == (
        "Named in a table, but there is no such picture; left out (1): gone.",
        "Pictures without a line in a table and without a mask; left out (1): stranger.",
        "Photographs without a mask, which teach no outline (1): b.",
        "Masks of no picture, not used (1): lost.",
    )


def test_of_two_files_of_one_name_the_first_counts(draw_pictures):
    root = draw_pictures(["a"], pictures="part_1")
    draw_pictures(["a"], pictures="part_2", masks=None)
    write_table(root / "labels.csv", {"image_id": "a", "lesion_id": "1", "dx": "nv"})
    data_set = open_data_set(root)
    assert data_set.photographs[0].picture.path == root / "part_1" / "a.png"
    assert data_set.problems == (
        "Files of the same name as another one in the folder; only the first is used (1): a.png.",
    )


def test_masks_are_white_inside(draw_pictures):
    root = draw_pictures(["a"])
    mask = open_data_set(root).photographs[0].mask.read()
    assert mask is not None
    assert mask.dtype == np.bool_
    assert mask[24, 32]
    assert not mask[0, 0]


# ---- not usable ----


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"dx": "melanoma of the heart"}, "no lesion class is called 'melanoma of the heart'"),
        ({"dx": "scc"}, "expected one of akiec, bcc, bkl, df, mel, nv, vasc"),
        ({"fold": "10"}, "the fold is 10, expected 0 to 7"),
        ({"fold": "first"}, "the fold is first, expected 0 to 7"),
        ({"fold": "1.5"}, "the fold is 1.5, expected 0 to 7"),
        ({"age": "-3"}, "the age is -3, expected years"),
        ({"age": "old"}, "the age is old, expected years"),
        ({"image_id": ""}, "the image_id is empty"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(draw_pictures, row, sentence):
    root = draw_pictures(["a"])
    path = write_table(root / "labels.csv", {"image_id": "a", **row})
    with pytest.raises(DataError) as caught:
        open_data_set(root)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert sentence in str(caught.value)


def test_classes_of_isic_2019_are_refused(draw_pictures):
    root = draw_pictures(["a"])
    write_table(root / "truth.csv", {"image": "a", "MEL": 0, "NV": 1, "AK": 0, "SCC": 0, "UNK": 0})
    with pytest.raises(DataError, match="classes AK, SCC, UNK, which DermCheck does not know"):
        open_data_set(root)


@pytest.mark.parametrize("values", [(0.9, 0.1), (1, 1), (0, 0), ("", "")])
def test_probabilities_are_no_diagnoses(draw_pictures, values):
    root = draw_pictures(["a"])
    write_table(root / "predictions.csv", {"image": "a", "MEL": values[0], "NV": values[1]})
    with pytest.raises(DataError, match="expected a single 1 and else 0"):
        open_data_set(root)


def test_contradicting_lines_are_refused(draw_pictures):
    root = draw_pictures(["a"])
    write_table(root / "labels.csv", {"image_id": "a", "dx": "nv"}, {"image_id": "a", "dx": "mel"})
    with pytest.raises(
        DataError, match="line 3: photograph a has the diagnosis mel, but nv in a line before"
    ):
        open_data_set(root)


def test_equal_lines_agree(draw_pictures):
    root = draw_pictures(["a"])
    write_table(root / "labels.csv", {"image_id": "a", "dx": "nv"}, {"image_id": "a.png", "dx": "NV"})
    assert diagnoses(open_data_set(root)) == ["nv"]


def test_folders_that_hold_no_data_set_say_so(draw_pictures, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder of the data set is missing"):
        open_data_set(tmp_path / "nowhere")
    with pytest.raises(DataError, match="the folder of the data set is a file"):
        open_data_set(tmp_path / "file")
    with pytest.raises(DataError, match="there is no JPEG, PNG or TIFF photograph"):
        open_data_set(tmp_path / "empty")
    with pytest.raises(DataError, match="nothing is known of its 1 photographs"):
        open_data_set(draw_pictures(["a"], masks=None))


def test_a_table_in_another_encoding_is_named(draw_pictures):
    root = draw_pictures(["a"])
    Path(root / "labels.csv").write_bytes("image_id,localization\na,Rücken\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"labels\.csv: the table cannot be read .* Expected CSV in UTF-8"):
        open_data_set(root)


def test_a_missing_table_of_diagnoses_is_named(draw_pictures, tmp_path):
    with pytest.raises(
        DataError, match=r"nowhere\.csv: the table cannot be read \(No such file or directory\)"
    ):
        open_data_set(draw_pictures(["a"]), diagnoses=tmp_path / "nowhere.csv")
