"""Studies, series and instances as rows that a search runs over."""

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Final, TypeAlias

from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.instances import Instance
from dermcheck.datastore.search_attributes import (
    INSTANCE_KEYWORDS,
    SEARCH_KEYWORDS,
    SERIES_KEYWORDS,
    STUDY_KEYWORDS,
)

__all__ = ["ALWAYS", "KNOWN", "Level", "Row", "Rows"]

Row: TypeAlias = Mapping[str, str]
"""Keyword -> text of the value, several values with backslashes between them."""


class Level(IntEnum):
    """Level of the information model (PS3.18 section 10.6.1)."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


_MADE: Final = {
    Level.STUDY: (
        "StudyInstanceUID",
        "ModalitiesInStudy",
        "SOPClassesInStudy",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    Level.SERIES: ("SeriesInstanceUID", "NumberOfSeriesRelatedInstances"),
    Level.INSTANCE: ("SOPInstanceUID",),
}
KNOWN: Final = {
    Level.STUDY: (*STUDY_KEYWORDS, *_MADE[Level.STUDY]),
    Level.SERIES: (*SERIES_KEYWORDS, *_MADE[Level.SERIES]),
    Level.INSTANCE: (*INSTANCE_KEYWORDS, *_MADE[Level.INSTANCE]),
}
"""What a row of each level adds to that of the level above."""

ALWAYS: Final = {
    Level.STUDY: (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ModalitiesInStudy",
        "ReferringPhysicianName",
        "TimezoneOffsetFromUTC",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyID",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    Level.SERIES: (
        "Modality",
        "TimezoneOffsetFromUTC",
        "SeriesDescription",
        "SeriesInstanceUID",
        "SeriesNumber",
        "NumberOfSeriesRelatedInstances",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
    ),
    Level.INSTANCE: (
        "SOPClassUID",
        "SOPInstanceUID",
        "TimezoneOffsetFromUTC",
        "InstanceNumber",
        "Rows",
        "Columns",
        "BitsAllocated",
        "NumberOfFrames",
    ),
}
"""What is returned unasked (PS3.18 tables 10.6.3-3 to 10.6.3-5)."""


class Rows:
    """The rows of a catalogue, made when they are asked for; those of studies are kept until they change."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._studies: dict[str, tuple[tuple[Instance, ...], Row]] = {}

    def of(
        self, level: Level, studies: Iterable[str] | None = None, series: str | None = None
    ) -> Iterator[Row]:
        """Yield the rows of a level, by study (the newest first), series and place.

        Parameters
        ----------
        studies
            Look only at these, by StudyInstanceUID.
        series
            Look only at this one, by SeriesInstanceUID.
        """
        uids = self._catalogue.study_uids() if studies is None else studies
        for uid in uids:
            instances = self._catalogue.study(uid)
            if not instances:  # gone meanwhile
                continue
            study = self._study(uid, instances)
            if level is Level.STUDY:
                yield study
                continue
            for series_uid, members in _by_series(instances).items():
                if series in (None, series_uid):
                    yield from _below(level, study, series_uid, members)

    def _study(self, uid: str, instances: tuple[Instance, ...]) -> Row:
        kept = self._studies.get(uid)
        if kept and kept[0] is instances:
            return kept[1]
        row = {
            **_texts(_first(instances), STUDY_KEYWORDS),
            "StudyInstanceUID": uid,
            "ModalitiesInStudy": _different(found.modality for found in instances),
            "SOPClassesInStudy": _different(found.sop_class_uid for found in instances),
            "NumberOfStudyRelatedSeries": str(len({found.series_instance_uid for found in instances})),
            "NumberOfStudyRelatedInstances": str(len(instances)),
        }
        self._studies[uid] = (instances, row)
        return row


def _below(level: Level, study: Row, series_uid: str, members: list[Instance]) -> Iterator[Row]:
    row = {
        **study,
        **_texts(_first(members), SERIES_KEYWORDS),
        "SeriesInstanceUID": series_uid,
        "NumberOfSeriesRelatedInstances": str(len(members)),
    }
    if level is Level.SERIES:
        yield row
        return
    for member in members:
        yield {**row, **_texts(member, INSTANCE_KEYWORDS), "SOPInstanceUID": member.sop_instance_uid}


def _by_series(instances: Iterable[Instance]) -> dict[str, list[Instance]]:
    found: dict[str, list[Instance]] = {}
    for instance in instances:
        found.setdefault(instance.series_instance_uid, []).append(instance)
    return found


def _first(instances: Iterable[Instance]) -> Instance:
    """Return the instance that speaks for its study or series: a photograph before what was made of it."""
    return min(instances, key=lambda found: found.kind != "photograph")


_POSITIONS: Final = {keyword: position for position, keyword in enumerate(SEARCH_KEYWORDS)}


def _texts(instance: Instance, keywords: Iterable[str]) -> dict[str, str]:
    return {keyword: instance.texts[_POSITIONS[keyword]] for keyword in keywords}


def _different(values: Iterable[str]) -> str:
    return "\\".join(sorted({value for value in values if value}))
