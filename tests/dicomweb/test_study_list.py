"""The viewer's list over an archive shows studies with photographs alone."""

import pytest

from dermcheck.dicomweb.study_list import list_studies
from dermcheck.errors import ArgumentError

MODALITIES = ("DMS", "XC")


class Archive:
    """Studies by their modalities; answers as QIDO-RS does, at most `most` rows at once."""

    def __init__(self, studies: dict[str, list[str]], most: int = 1000, heeds: bool = True) -> None:
        self.studies, self.most, self.heeds = studies, most, heeds
        self.asked: list[dict[str, str]] = []

    def __call__(self, keys):
        given = dict(keys)
        self.asked.append(given)
        found = [
            {"0020000D": {"vr": "UI", "Value": [uid]}, "00080061": {"vr": "CS", "Value": modalities}}
            for uid, modalities in self.studies.items()
            if given["ModalitiesInStudy"] in modalities or not self.heeds
        ]
        offset = int(given.get("offset", 0))
        return found[offset : offset + min(self.most, int(given["limit"]))]


def uids(rows: list) -> list[str]:
    return [row["0020000D"]["Value"][0] for row in rows]


MIXED = {"1": ["CT"], "2": ["XC"], "3": ["DMS", "SEG"], "4": ["MR", "XC", "DMS"], "5": ["SR"]}


@pytest.mark.parametrize("heeds", [True, False], ids=["heeds the key", "ignores it"])
def test_only_studies_with_photographs_are_listed_and_each_once(heeds):
    assert uids(list_studies(Archive(MIXED, heeds=heeds), [], MODALITIES)) == ["3", "4", "2"]


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_pages_fit_together_however_few_rows_the_archive_gives(most):
    studies = {str(number): [("CT", "DMS", "XC")[number % 3]] for number in range(31)}
    whole = uids(list_studies(Archive(studies, most), [("limit", "50")], MODALITIES))
    pages = [
        uid
        for offset in range(0, 25, 5)
        for uid in uids(
            list_studies(Archive(studies, most), [("limit", "5"), ("offset", str(offset))], MODALITIES)
        )
    ]
    assert pages == whole
    assert sorted(whole, key=int) == [uid for uid, found in studies.items() if found != ["CT"]]


def test_the_first_page_of_a_large_archive_takes_one_request():
    archive = Archive({str(number): ["DMS"] for number in range(100_000)})
    assert len(list_studies(archive, [("limit", "101")], MODALITIES)) == 101
    assert len(archive.asked) == 1


def test_other_keys_are_passed_on_and_modalities_are_kept_to_those_of_photographs():
    archive = Archive(MIXED)
    keys = [("PatientName", "*A*"), ("ModalitiesInStudy", "CT,XC"), ("includefield", "00081030")]
    assert uids(list_studies(archive, keys, MODALITIES)) == ["2", "4"]
    assert {asked["ModalitiesInStudy"] for asked in archive.asked} == {"XC"}
    assert all(
        (asked["PatientName"], asked["includefield"]) == ("*A*", "00081030") for asked in archive.asked
    )
    assert list_studies(archive, [("00080061", "CT")], MODALITIES) == []


def test_an_archive_that_ignores_the_offset_does_not_keep_the_list_waiting():
    archive = Archive(MIXED)
    list_studies(lambda keys: archive([pair for pair in keys if pair[0] != "offset"]), [], MODALITIES)
    assert len(archive.asked) < 6


@pytest.mark.parametrize("keys", [[("limit", "-1")], [("offset", "many")], [("limit", "9" * 20)]])
def test_wild_numbers_are_refused(keys):
    with pytest.raises(ArgumentError, match="expected a whole number"):
        list_studies(Archive(MIXED), keys, MODALITIES)
