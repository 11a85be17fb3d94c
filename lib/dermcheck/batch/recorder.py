"""Names, writes and records what became of each input, in the order of the input."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from dermcheck.batch.discovery import InputFile, Skipped
from dermcheck.batch.inventory import Inventory
from dermcheck.batch.journal import Journal
from dermcheck.batch.names import photo_names
from dermcheck.batch.outcomes import Failure
from dermcheck.batch.pipeline import Outcome
from dermcheck.batch.results import ResultFolder
from dermcheck.batch.sources import FileKind
from dermcheck.batch.stages import Refused
from dermcheck.batch.store import StoreTally
from dermcheck.dicom.files import file_name

__all__ = ["Recorder", "Tally"]


@dataclass
class Tally:
    """How far a batch has come."""

    found: int = 0
    """All that the input holds: files of every kind, and folders that are passed over or stay closed."""
    predicted: int = 0
    """Photographs predicted in this run."""
    already: int = 0
    """Photographs predicted by an earlier run."""
    changed: int = 0
    """How many of these have changed since and were left as they are."""
    first_changed: Path | None = None
    gone: int = 0
    """Photographs predicted by an earlier run that the input holds no more: the tables leave them out."""
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """What is passed over without being a failure, counted by reason."""
    stored: StoreTally | None = None
    """What was stored with the photographs; None if that was not asked for."""

    @classmethod
    def after(cls, inventory: Inventory) -> Tally:
        """Begin with what the inventory says."""
        return cls(
            found=inventory.found,
            already=inventory.already,
            changed=inventory.changed,
            first_changed=inventory.first_changed,
            gone=inventory.gone,
            failed=inventory.failed,
            skipped=inventory.skipped,
        )


class Recorder:
    """What must happen in the order of the input: names, files, journal.

    Parameters
    ----------
    tally
        Is kept up to date.
    """

    def __init__(self, results: ResultFolder, journal: Journal, tally: Tally) -> None:
        self._results = results
        self._journal = journal
        self._tally = tally

    def take(self, file: InputFile, outcome: Outcome) -> None:
        """Keep what became of one file; raises only what must end the batch."""
        if isinstance(outcome, Skipped):
            self._journal.record_skip(file, outcome.reason)
            self._tally.skipped[outcome.reason] += 1
            return
        if (again := self._second_instance(file, outcome.sop_instance_uid)) is not None:
            self._fail(file, Failure(outcome.sop_instance_uid or "", again), outcome.seconds)
        elif isinstance(outcome, Refused):
            failure = self._failure(file, outcome)
            if self._journal.holder(failure.image, file.relative) is None:
                self._results.remove(self._results.files_of(failure.image))
            self._fail(file, failure, outcome.seconds)
        else:
            image = outcome.sop_instance_uid or self._free_name(file.relative)
            paths = self._results.store(image, outcome.files)
            self._remove_outdated(file, image, paths)
            self._journal.record(
                file, replace(outcome.prediction, image=image), seconds=outcome.seconds, files=paths
            )
            self._tally.predicted += 1

    def _remove_outdated(self, file: InputFile, image: str, written: list[Path]) -> None:
        """Remove what an earlier run wrote under this name and this run does not, unless it still holds."""
        others = [path for path in self._results.files_of(image) if path not in written]
        if others and not self._journal.answers_again(file, image):
            self._results.remove(others)

    def _fail(self, file: InputFile, failure: Failure, seconds: float) -> None:
        self._journal.record_failure(file.relative, failure, seconds=seconds)
        self._tally.failed += 1

    def _failure(self, file: InputFile, refused: Refused) -> Failure:
        if refused.kind is FileKind.PHOTO:
            return Failure(self._free_name(file.relative), refused.reason, keeps_name=True)
        return Failure(refused.sop_instance_uid or file_name(Path(file.relative.stem)), refused.reason)

    def _free_name(self, relative: Path) -> str:
        return next(name for name in photo_names(relative) if self._journal.holder(name, relative) is None)

    def _second_instance(self, file: InputFile, sop_instance_uid: str | None) -> str | None:
        """Say why a file is not predicted whose instance another file holds as well."""
        if sop_instance_uid is None:
            return None
        other = self._journal.holder(sop_instance_uid, file.relative)
        if other is None:
            return None
        return (
            f"{file_name(file.relative)}: SOPInstanceUID is {sop_instance_uid}, which is already the name of "
            f"{file_name(other)}. Only that one is predicted; remove one of the two."
        )
