import os
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermcheck.batch.names import comparable, photo_names, result_path

ENDING = "_segmentation.png"
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_a_photo_is_called_by_its_stem():
    assert next(photo_names(Path("anna/IMG_0001.JPG"))) == "IMG_0001"


def test_a_photo_whose_stem_is_taken_is_called_by_its_path():
    assert list(islice(photo_names(Path("anna/IMG_0001.JPG")), 3)) == [
        "IMG_0001",
        "anna/IMG_0001.JPG",
        "anna/IMG_0001.JPG~2",
    ]


def test_a_name_that_is_not_utf8_becomes_text():
    name = next(photo_names(Path(os.fsdecode(b"l\xe4sion.jpg"))))
    assert name.encode().startswith(b"l\\")


@pytest.mark.parametrize(
    "image", ["ISIC_0024306", "Läsion 3", "皮肤", "حالة", "a,b", 'it"s'.replace('"', "'"), "1.2.840.1"]
)
def test_ordinary_names_of_any_script_are_file_names_unchanged(image):
    assert result_path(image, ENDING) == Path(image + ENDING)


def test_a_path_as_name_leads_into_a_folder():
    assert result_path("anna/IMG_0001.JPG", ENDING) == Path("anna/IMG_0001.JPG_segmentation.png")


@given(texts)
def test_no_name_leads_out_of_the_folder(image):
    path = result_path(image, ENDING)
    assert not path.is_absolute()
    assert ".." not in path.parts


@given(texts)
def test_every_file_name_can_be_made(image):
    for part in result_path(image, ENDING).parts:
        assert len(part.encode()) <= 255
        assert not set(part) & set('\0\n\r\t<>:"\\|?*')


@given(texts, texts)
def test_two_names_have_two_files(one, other):
    if one != other:
        assert result_path(one, ENDING) != result_path(other, ENDING)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a\nb", "a_b"), ("a\nb", "a\tb"), ("é" * 150, "é" * 151), ("../a", "_/a"), ("a?", "a*")],
)
def test_two_names_that_differ_in_what_is_replaced_have_two_files(one, other):
    assert result_path(one, ENDING) != result_path(other, ENDING)


@pytest.mark.parametrize(
    ("one", "other"), [("IMG_1", "img_1"), ("l\u00e4sion", "la\u0308sion"), ("STRASSE", "straße")]
)
def test_names_that_are_one_file_elsewhere_are_equal(one, other):
    assert comparable(one) == comparable(other)
