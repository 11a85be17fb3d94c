"""What a batch's journal costs for each photograph: processor time and bytes, without any photograph.

    python benchmarks/journal.py [--photographs 100000]

Prints, for each photograph, the inventory of a new input, the recording of a prediction (with its commits),
the inventory of the same input when the batch is run again, and the size of the file.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dermcheck.batch.discovery import InputFile
from dermcheck.batch.journal import Journal
from dermcheck.batch.names import JOURNAL_NAME
from dermcheck.batch.outcomes import Prediction
from dermcheck.lesions import CLASSES


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=int, default=100_000)
    count: int = parser.parse_args().photographs
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        with Journal(output, {"INPUT": "photographs"}) as journal:
            _told("inventory of a new input", count, lambda: journal.take_inventory(_files(count)))
            _told("recording", count, lambda: _record(journal))
        with Journal(output, {"INPUT": "photographs"}) as journal:
            _told("inventory when run again", count, lambda: journal.take_inventory(_files(count)))
        size = (output / JOURNAL_NAME).stat().st_size
    print(f"{'the file':26} {size / count / 1000:7.2f} kB")


def _told(what: str, count: int, work: Callable[[], object]) -> None:
    processor, wall = time.process_time(), time.perf_counter()
    work()
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    print(
        f"{what:26} {processor / count * 1000:7.3f} ms of one core, {wall / count * 1000:.3f} ms by the clock"
    )


def _files(count: int) -> Iterator[InputFile]:
    for number in range(count):
        name = Path(f"{number // 1000:05}/ISIC_{number:07}.jpg")
        yield InputFile(Path("/photographs") / name, name, 50_000, number)


def _record(journal: Journal) -> None:
    details = {
        "decision": "nv",
        "uncertainty": 0.123456,
        "not_sure": False,
        "possible_classes": ["nv", "mel"],
        **{f"lesion_{side}": 123 for side in ("first_row", "first_column", "last_row", "last_column")},
        "rows": 450,
        "columns": 600,
        "lesion_pixels": 60_000,
        "lesion_share": 0.222222,
        **{f"{level}_instance_uid": "1.2.826.0.1.3680043.8.498." + "7" * 38 for level in ("study", "series")},
        "classifier": "DermCheck classifier 2",
        "classifier_sha256": "a" * 64,
        "outliner": "DermCheck outliner 2",
        "outliner_sha256": "b" * 64,
    }
    remarks = {"decision": "nv", "confidence": "0.9123", "not_sure": "no", "possible_classes": "nv mel"}
    probabilities = dict.fromkeys(CLASSES, 0.1234567890123456)
    for file in journal.waiting():
        prediction = Prediction(
            file.relative.stem, probabilities, remarks, details, "a" * 64 + " " + "b" * 64
        )
        journal.record(file, prediction, seconds=0.02)
    journal.commit()


if __name__ == "__main__":
    main()
