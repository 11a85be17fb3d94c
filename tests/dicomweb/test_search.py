"""Searches (QIDO-RS)."""

import json
from pathlib import Path

import pytest

from dermcheck.datastore import StudyStore
from dermcheck.dicomweb.levels import Level
from dermcheck.dicomweb.origin import FolderOrigin
from dermcheck.errors import ArgumentError, NotFoundError

ROOT = "http://127.0.0.1/dicom-web"


@pytest.fixture
def find(store):
    origin = FolderOrigin(store.archive, store.catalogue)

    def find(level: Level, *parameters: tuple[str, str], study=None, series=None) -> list[dict]:
        return json.loads(origin.search(level, parameters, ROOT, study, series).content)

    return find


def patients(found: list[dict]) -> list[str]:
    return sorted({row["00100020"]["Value"][0] for row in found})


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("PatientID", "A-1", ["A-1"]),
        ("00100020", "*2", ["B-2"]),
        ("00100020", "?-1", ["A-1"]),
        ("PatientID", "a-1", []),
        ("PatientName", "test^a*", ["A-1"]),
        ("PatientName", "", ["A-1", "B-2"]),
        ("PatientID", "*", ["A-1", "B-2"]),
        ("ModalitiesInStudy", "DMS", ["A-1", "B-2"]),
        ("ModalitiesInStudy", "CT\\DMS", ["A-1", "B-2"]),
        ("ModalitiesInStudy", "CT,MR", []),
        ("NumberOfStudyRelatedInstances", "2", ["A-1"]),
        ("StudyInstanceUID", "1.2.3", []),
    ],
)
def test_studies_match_by_their_values(find, key, value, expected):
    assert patients(find(Level.STUDY, (key, value))) == expected


def test_several_keys_must_all_match(find):
    assert find(Level.STUDY, ("PatientID", "A-1"), ("PatientName", "*B*")) == []


def test_a_result_says_where_it_is_retrieved_from(find, photographs):
    (found,) = find(Level.INSTANCE, ("SOPInstanceUID", photographs[2].SOPInstanceUID))
    place = photographs[2]
    (address,) = found["00081190"]["Value"]
    assert address == (
        f"{ROOT}/studies/{place.StudyInstanceUID}/series/{place.SeriesInstanceUID}"
        f"/instances/{place.SOPInstanceUID}"
    )


def test_includefield_adds_what_is_known(find):
    assert "00181000" not in find(Level.STUDY)[0]
    assert "00081030" not in find(Level.STUDY)[0]
    assert "00081030" in find(Level.STUDY, ("includefield", "StudyDescription"))[0]
    assert "00081030" in find(Level.STUDY, ("includefield", "all"))[0]
    assert find(
        Level.STUDY, ("includefield", "00111011,00400275.00400008")
    )  # private, or in a sequence: ignored


def test_limit_and_offset_cut_pages(find, store):
    whole = find(Level.INSTANCE)
    assert len(whole) == 3
    pages = [find(Level.INSTANCE, ("limit", "1"), ("offset", str(number))) for number in range(4)]
    assert [row for page in pages for row in page] == whole
    assert find(Level.INSTANCE, ("limit", "0")) == []


def test_more_results_and_fuzzy_matching_are_announced(store):
    origin = FolderOrigin(store.archive, store.catalogue)
    assert origin.search(Level.INSTANCE, [("limit", "2")], ROOT).more
    assert not origin.search(Level.INSTANCE, [("limit", "3")], ROOT).more
    assert origin.search(Level.STUDY, [("fuzzymatching", "true")], ROOT).fuzzy


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limit", "-1"),
        ("limit", "1e9"),
        ("offset", "99999999999999999999"),
        ("fuzzymatching", "maybe"),
        ("StudyDate", "yesterday"),
        ("StudyDate", "-"),
        ("NoSuchAttribute", "1"),
        ("PixelData", "1"),
        ("0010002", "1"),
        ("includefield", "../../etc"),
        ("\x00", "\x00"),
    ],
)
def test_wild_parameters_are_refused_in_words(find, key, value):
    with pytest.raises(ArgumentError, match=r"expected"):
        find(Level.STUDY, (key, value))


def test_wildcards_take_no_exponential_time(find):
    assert find(Level.STUDY, ("PatientName", "*" * 5000 + "x")) == []
    assert find(Level.STUDY, ("PatientName", "*a" * 12 + "*b")) == []


def test_a_study_or_series_that_does_not_exist_is_not_found(find, photographs):
    with pytest.raises(NotFoundError, match="no such study"):
        find(Level.SERIES, study="1.2")
    with pytest.raises(NotFoundError, match="no such series"):
        find(Level.INSTANCE, study=photographs[0].StudyInstanceUID, series="1.2")


def test_the_newest_study_comes_first(sample_studies: Path, tmp_path):
    store = StudyStore.open(sample_studies, tmp_path / "cache", watch=False)
    origin = FolderOrigin(store.archive, store.catalogue)
    found = json.loads(origin.search(Level.STUDY, [], ROOT).content)
    dates = [row["00080020"].get("Value", [""])[0] for row in found]
    assert dates == sorted(dates, reverse=True)
    assert len(dates) > 5
