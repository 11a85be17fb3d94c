"""What `INPUT` may be, behind one interface: a folder, a file, a list, a DICOMDIR, an archive's address."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from dermcheck.batch.discovery import Finding, InputFile, walk
from dermcheck.batch.inputs_archive import ArchiveQuery, ArchiveSource
from dermcheck.batch.inputs_dicomdir import find_in_dicomdir, is_dicomdir
from dermcheck.batch.inputs_list import find_in_list
from dermcheck.batch.names import JOURNAL_NAME
from dermcheck.batch.results import CAUTIONS_NAME, FAILURES_NAME, OWN_FOLDERS, PREDICTIONS_NAME
from dermcheck.datastore.locations import is_url
from dermcheck.dicom.files import file_name
from dermcheck.errors import ArgumentError, NotFoundError, UnreadableImageError

__all__ = ["ArchiveQuery", "LocalSource", "Source", "ensure_steady", "open_source", "restat"]

_LIST_SUFFIX: Final = ".csv"


class Source(Protocol):
    """A place that inputs come from."""

    @property
    def name(self) -> str:
        """The place in words; a batch is bound to it."""

    @property
    def output(self) -> Path:
        """The folder for results, links resolved."""

    def findings(self) -> Iterator[Finding]:
        """Go through all that is there, in the order of the tables.

        Raises
        ------
        NotFoundError
            If there is nothing.
        StorageError
            If an archive does not answer.
        """

    def fetch(self, file: InputFile) -> Path:
        """Return where a file can be read on this computer. Any number of threads may call it.

        Raises
        ------
        StorageError
            If nothing more can be had, so that the batch must end: an archive that does not answer.
        DermCheckError
            If only this one cannot be had, with the reason.
        """

    def release(self, file: InputFile) -> None:
        """Remove the copy that `fetch` made, if it made one."""

    def for_node(self, downloads: Path) -> Source:
        """Give the same place to a process on another machine, which may `fetch` and `release`.

        Called there, after this has been pickled.

        Parameters
        ----------
        downloads
            A folder for copies.

        Raises
        ------
        ArgumentError
            If the place is not there.
        """


class LocalSource:
    """Files on this computer or on a share.

    Parameters
    ----------
    path
        A folder, a DICOMDIR, a list (CSV) or one photograph; links resolved.
    output
        The results' folder, which is not looked into.
    """

    def __init__(self, path: Path, output: Path) -> None:
        self.path = path
        self.output = output

    @property
    def name(self) -> str:
        """The path, printable."""
        return file_name(self.path)

    @property
    def folder(self) -> Path | None:
        """The folder, if it is one."""
        return self.path if self.path.is_dir() else None

    def findings(self) -> Iterator[Finding]:
        """Go through all files in a fixed order; raises NotFoundError if there is none."""
        found = iter(self._findings())
        first = next(found, None)
        if first is None:
            kind = "folder is empty" if self.path.is_dir() else "list is empty"
            raise NotFoundError(f"{self.name}: this {kind}. Name a folder with photographs.")
        yield first
        yield from found

    def _findings(self) -> Iterator[Finding]:
        if self.path.is_dir():
            return walk(self.path, self.output)
        if self.path.suffix.casefold() == _LIST_SUFFIX:
            return find_in_list(self.path)
        if is_dicomdir(self.path):
            return find_in_dicomdir(self.path)
        return walk(self.path, self.output)

    def fetch(self, file: InputFile) -> Path:
        """Return the file's own path."""
        return file.path

    def release(self, file: InputFile) -> None:
        """Do nothing: there is no copy."""

    def for_node(self, downloads: Path) -> LocalSource:
        """Make sure that this machine shares the disk."""
        if not os.path.exists(self.path):  # noqa: PTH110 (as in `_check_local`)
            raise ArgumentError(
                f"{self.name}: this is not there on the machine {socket.gethostname()} of the Ray cluster. "
                "Photographs must lie on a disk that all machines share, under the same path."
            )
        return self


def open_source(source: str | Path, output: Path, query: ArchiveQuery | None = None) -> Source:
    """Find what `INPUT` is, and refuse what would mix up photographs and results.

    Nothing is made or written.

    Parameters
    ----------
    source
        A folder; one photograph; a list of paths (``.csv``, see `inputs_list`); a DICOMDIR; the DICOMweb
        address of an archive.
    output
        Folder for the results.
    query
        What is wanted of an archive; everything it has of the usual modalities if None.

    Raises
    ------
    ArgumentError
        If there is no such file or folder, or the results would be taken for photographs.
    NotFoundError
        If there is nothing in it.
    StorageError
        If the archive does not answer.
    """
    output = Path(os.path.realpath(output))
    _check_output(output)
    found: Source
    if is_url(source):
        found = ArchiveSource(str(source), output, query or ArchiveQuery())
    else:
        if query is not None and query != ArchiveQuery():
            raise ArgumentError(
                f"{file_name(Path(source))}: --modality and --date choose from an archive, but this is no "
                "address (http:// or https://). Leave them out."
            )
        found = LocalSource(_check_local(Path(source), output), output)
    next(found.findings())  # raises if there is nothing
    return found


def restat(file: InputFile) -> InputFile:
    """Look at a file again right before it is read: it may have changed since it was found.

    Raises
    ------
    UnreadableImageError
        If it is gone.
    """
    if file.size < 0:
        return file
    try:
        status = file.path.stat()
    except FileNotFoundError as error:
        raise UnreadableImageError(
            f"{file_name(file.relative)}: this file was there when the batch began and is gone now."
        ) from error
    return InputFile(file.path, file.relative, status.st_size, status.st_mtime_ns, file.place)


def ensure_steady(file: InputFile) -> None:
    """Make sure that a file is still the one that was looked at: half a copy must not be predicted.

    Raises
    ------
    UnreadableImageError
        If it changed while it was read.
    """
    if restat(file) != file:
        raise UnreadableImageError(
            f"{file_name(file.relative)}: this file changed while it was read; it seems to be still copied. "
            "Run the same command again once it is complete."
        )


def _check_output(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise ArgumentError(f"{file_name(output)}: this is a file, expected a folder for the results.")
    if (output / JOURNAL_NAME).exists():
        return
    for name in (PREDICTIONS_NAME, CAUTIONS_NAME, FAILURES_NAME):
        if (output / name).exists():
            raise ArgumentError(
                f"{file_name(output / name)}: this table was not made by a batch that is recorded here "
                f"({JOURNAL_NAME} is missing) and is not overwritten. Choose another --output folder."
            )


def _check_local(source: Path, output: Path) -> Path:
    if not os.path.exists(source):  # noqa: PTH110 (`Path.exists` raises for a name that is too long)
        raise ArgumentError(f"{file_name(source)}: there is no such file or folder. Check the spelling.")
    source = Path(os.path.realpath(source))
    if source == output or any(source.is_relative_to(output / name) for name in OWN_FOLDERS):
        raise ArgumentError(
            f"{file_name(output)}: with INPUT {file_name(source)} the results would be taken for "
            "photographs. Choose another --output folder."
        )
    return source
