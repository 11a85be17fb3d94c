"""The photographs of an archive (PACS) with DICOMweb, found by a query and fetched one at a time."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset

from dermcheck.batch.discovery import Finding, InputFile, Skipped
from dermcheck.batch.durability import saving
from dermcheck.batch.sources import skipped_class
from dermcheck.datastore.archive_access import ArchiveAccess
from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.instance_json import from_dicom_json
from dermcheck.datastore.web_archive import WebArchive, instance_key
from dermcheck.errors import (
    ArgumentError,
    DermCheckError,
    NotFoundError,
    StorageError,
    UnreadableImageError,
)

__all__ = ["ArchiveQuery", "ArchiveSource"]

_PAGE: Final = 500
_FIELDS: Final = ("SOPClassUID", "Modality", "StudyDate")
_DATE: Final = r"\d{4}-?\d{2}-?\d{2}"
_DATES: Final = re.compile(rf"(?P<day>{_DATE})|(?P<first>{_DATE})?-(?P<last>{_DATE})?")
_MODALITY: Final = re.compile(r"[A-Z0-9_]{1,16}")
_GO_ON: Final = "Run the same command again: it goes on where it stopped."


@dataclass(frozen=True)
class ArchiveQuery:
    """What is wanted of an archive."""

    modalities: tuple[str, ...] = ()
    """Codes such as ``DMS``; none for those that `ArchiveAccess` says."""
    first_day: str = ""
    """Earliest study date, ``YYYYMMDD``; empty for no limit."""
    last_day: str = ""

    @classmethod
    def from_options(cls, modality: str | None, date: str | None) -> ArchiveQuery:
        """Read ``--modality DMS,XC`` and ``--date FROM-TO``.

        Days are written ``YYYYMMDD`` or ``YYYY-MM-DD``; either end may be left out, and one day alone
        is that day.

        Raises
        ------
        ArgumentError
            If one of them is malformed.

        >>> ArchiveQuery.from_options("xc,dms", "2025-01-01-")
        ArchiveQuery(modalities=('DMS', 'XC'), first_day='20250101', last_day='')
        """
        # In one order: they are part of the name to which a batch is bound.
        codes = tuple(sorted({part.strip().upper() for part in (modality or "").split(",") if part.strip()}))
        if modality is not None and (not codes or not all(_MODALITY.fullmatch(code) for code in codes)):
            raise ArgumentError(f"--modality is {modality[:60]!r}, expected codes like DMS,XC.")
        if date is None:
            return cls(codes)
        match = _DATES.fullmatch(date.strip())
        if match is None or date.strip() == "-":
            raise ArgumentError(f"--date is {date[:60]!r}, expected FROM-TO like 20250101-20251231.")
        first = _day(match["day"] or match["first"] or "", date)
        last = _day(match["day"] or match["last"] or "", date)
        if first and last and first > last:
            raise ArgumentError(f"--date is {date!r}: it ends before it begins.")
        return cls(codes, first, last)

    @property
    def study_date(self) -> str | None:
        """The range as a search has it (PS3.18 8.3.4.6, PS3.4 C.2.2.2.5)."""
        if not (self.first_day or self.last_day):
            return None
        return self.first_day if self.first_day == self.last_day else f"{self.first_day}-{self.last_day}"

    def __str__(self) -> str:
        """Say it in words; empty if it wants everything."""
        words = [f"modality {','.join(self.modalities)}"] if self.modalities else []
        return ", ".join([*words, f"date {self.study_date}"] if self.study_date else words)


def _day(text: str, option: str) -> str:
    digits = text.replace("-", "")
    try:
        if digits:
            datetime.strptime(digits, "%Y%m%d")
    except ValueError as error:
        raise ArgumentError(f"--date is {option!r}: {text} is no day of the calendar.") from error
    return digits


class ArchiveSource:
    """The instances of an archive that match a query.

    The log-in comes from the address or the environment, as for `dermcheck serve` (see `ArchiveAccess`).
    Each instance is downloaded into the output folder when it is its turn, and removed after.

    Parameters
    ----------
    location
        The DICOMweb address.
    output
        Folder for the results.
    query
        Which instances.
    """

    def __init__(self, location: str, output: Path, query: ArchiveQuery) -> None:
        self._access = access = ArchiveAccess.from_environment(location)
        self.archive = WebArchive.connect(access, Catalogue())
        self.output = output
        self._address = access.url
        self._query = query
        self._modalities = query.modalities or access.modalities
        self._downloads = output / ".partial" / "retrieved"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the connection, which another process cannot use."""
        return {name: value for name, value in vars(self).items() if name != "archive"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Connect anew."""
        vars(self).update(state)
        self.archive = WebArchive.connect(self._access, Catalogue())

    def for_node(self, downloads: Path) -> ArchiveSource:
        """Download into another folder."""
        self._downloads = downloads
        return self

    @property
    def name(self) -> str:
        """Address and query; a batch is bound to both."""
        query = str(self._query)
        return f"{self._address} ({query})" if query else self._address

    def findings(self) -> Iterator[Finding]:
        """Go through all matching instances; raises NotFoundError if there is none."""
        any_found = False
        for modality in self._modalities:
            for listed in self._search(modality):
                any_found = True
                yield self._finding(listed)
        if not any_found:
            raise NotFoundError(
                f"{self.name}: the archive holds nothing of modality {', '.join(self._modalities)} that "
                "matches. Check --modality and --date."
            )

    def _search(self, modality: str) -> Iterator[Dataset]:
        """Search page by page; what does not match is left out, as some archives ignore a filter."""
        filters = {"Modality": modality}
        if self._query.study_date:
            filters["StudyDate"] = self._query.study_date
        offset, before = 0, set[str]()
        while answers := self.archive.search_for_instances(
            search_filters=filters, fields=_FIELDS, limit=_PAGE, offset=offset or None
        ):
            page = {}
            for answer in answers:
                listed = from_dicom_json(answer, self._address)
                page[self._key(listed)] = listed
            if page.keys() <= before:
                return  # an archive that ignores the offset would send the same page for ever
            yield from (
                one for key, one in page.items() if key not in before and self._matches(one, modality)
            )
            offset, before = offset + len(answers), set(page)

    def _key(self, listed: Dataset) -> str:
        try:
            return instance_key(listed)
        except UnreadableImageError as error:
            raise StorageError(
                f"{self._address}: it does not answer as DICOMweb does; in a search result {error}"
            ) from error

    def _matches(self, listed: Dataset, modality: str) -> bool:
        day = str(listed.get("StudyDate") or "")
        in_range = not day or (day >= self._query.first_day and day <= (self._query.last_day or day))
        return in_range and str(listed.get("Modality") or modality) == modality

    def _finding(self, listed: Dataset) -> Finding:
        relative = Path(instance_key(listed))
        if reason := skipped_class(listed):
            return Skipped(relative, reason)
        return InputFile(self._downloads / relative.parts[-1], relative, size=-1, modified_ns=-1)

    def fetch(self, file: InputFile) -> Path:
        """Download one instance.

        Raises
        ------
        StorageError
            If the archive does not answer (any more), or the disk is full.
        NotFoundError, UnreadableImageError
            If only this instance cannot be had.
        """
        study, series, instance = file.relative.parts
        try:
            content = io.BytesIO()
            dataset = self.archive.retrieve_instance(study, series, instance)
            dataset.save_as(content, enforce_file_format=True)
        except StorageError as error:
            self._check_reachable(error)
            raise UnreadableImageError(
                f"instance {instance}: the archive lists it, but did not give it. {error}"
            ) from error
        except DermCheckError:
            raise
        except Exception as error:  # whatever the archive sent in place of an instance
            raise UnreadableImageError(
                f"instance {instance}: what the archive sent cannot be read ({type(error).__name__}). Ask "
                "its administrator."
            ) from error
        path = self._downloaded(file)
        with saving(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.getbuffer())
        return path

    def _downloaded(self, file: InputFile) -> Path:
        return self._downloads / file.relative.parts[-1]

    def _check_reachable(self, failure: StorageError) -> None:
        """Find out whether it is one instance or the archive; raises StorageError if the latter."""
        try:
            self.archive.search_for_instances(search_filters={"Modality": self._modalities[0]}, limit=1)
        except StorageError as error:
            raise StorageError(f"{failure} {_GO_ON}") from error

    def release(self, file: InputFile) -> None:
        """Remove the download."""
        self._downloaded(file).unlink(missing_ok=True)
