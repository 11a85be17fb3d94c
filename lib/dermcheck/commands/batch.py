"""`dermcheck batch`: predict over a folder, a list, a DICOMDIR or an archive."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dermcheck.commands.models import add_model_options, open_registry
from dermcheck.errors import ArgumentError

if TYPE_CHECKING:
    from tqdm import tqdm

    from dermcheck.batch import BatchSettings, Tally
    from dermcheck.batch.store import StoreTally

__all__ = ["register", "run"]

_DESCRIPTION = """\
Predict every photograph of INPUT (DICOM, JPEG, PNG, TIFF). INPUT is a folder (with all
folders in it), one photograph, a list of paths (CSV with a column path, image or file),
a DICOMDIR, or an archive's DICOMweb address. Research use only; not a medical device.

Always written to DIR:
  predictions.csv  ISIC 2018 Task 3 format: image and its seven calibrated probabilities
  cautions.csv     decision, "not sure", classes that remain possible, "melanoma not
                   excluded", and whether it is a lesion photograph at all
  failures.csv     image and reason, for files that could not be predicted
"""
_EPILOG = """\
An image is called by its file stem, a DICOM image by its SOPInstanceUID. Where a stem
occurs twice, the later image is called by its path inside INPUT. DICOM objects that
are no images (SEG, SR, PDF ...) and files of other kinds are skipped and counted.

Stopped or killed, the same command goes on where it was. A finished one predicts only
what is new, and tries failures again; what has changed is told, and predicted again
with --redo changed. User name and password of an archive come from the environment,
as for dermcheck serve (DERMCHECK_PACS_USER and others).

Exit status: 0 all predicted, 1 some files failed, have changed or were not stored, or the
work could not be done, 2 wrong arguments, 130 stopped.

Examples:
  dermcheck batch photos/ --output results/ --masks png --dicom
  dermcheck batch https://pacs.example/dicom-web --date 20250101-20251231 \\
                  --output results/ --store
  dermcheck batch --output results/ --status
"""
_SECONDS_BETWEEN_LOG_LINES = 10.0
_SECONDS_BEFORE_A_BAR = 1.0
"""What is over sooner needs none."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "batch",
        help="predict over a folder of DICOM files and photos, or an archive",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "input", metavar="INPUT", nargs="?", help="a folder, a file, a list (.csv), a DICOMDIR or an address"
    )
    parser.add_argument("--output", metavar="DIR", required=True, type=Path, help="folder for the results")
    parser.add_argument(
        "--masks", choices=["png"], help="also write masks/<image>_segmentation.png (0 and 255, full size)"
    )
    parser.add_argument(
        "--dicom", action="store_true", help="also write dicom/<image>.seg.dcm and .sr.dcm (SEG and SR)"
    )
    parser.add_argument(
        "--report",
        choices=["jsonl", "parquet"],
        action="append",
        default=[],
        help="also write all that is known of each image as report.jsonl or report.parquet; may be repeated",
    )
    parser.add_argument(
        "--store",
        action="store_true",
        help="also store SEG and SR in the archive or folder that INPUT is, never twice (includes --dicom)",
    )
    parser.add_argument("--modality", metavar="CODES", help="of an archive: only these, e.g. DMS,XC")
    parser.add_argument(
        "--date", metavar="FROM-TO", help="of an archive: only studies of these days, e.g. 20250101-20251231"
    )
    parser.add_argument(
        "--redo",
        choices=["changed", "all"],
        default="nothing",
        help="predict again what has changed since (files or models), or everything",
    )
    parser.add_argument(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="this computer alone (default), or all machines of a Ray cluster (RAY_ADDRESS)",
    )
    add_model_options(parser)
    parser.add_argument(
        "--status",
        action="store_true",
        help="only tell how far the batch in DIR has come, also while it runs",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON, and no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the batch and print its summary, or tell how far one has come."""
    if arguments.status:
        return _print_status(arguments)
    if arguments.input is None:
        raise ArgumentError(
            "What is to be predicted? Name a folder: dermcheck batch INPUT --output DIR. Without INPUT, only "
            "--status works."
        )
    from dermcheck.batch import BatchSettings, run_batch
    from dermcheck.batch.inputs_archive import ArchiveQuery

    settings = BatchSettings(
        source=arguments.input,
        output=arguments.output,
        models=arguments.models or open_registry(arguments),
        masks=arguments.masks == "png",
        dicom=arguments.dicom or arguments.store,
        query=ArchiveQuery.from_options(arguments.modality, arguments.date),
        redo=arguments.redo,
        reports=tuple(dict.fromkeys(arguments.report)),
        store=arguments.store,
        engine=arguments.engine,
    )
    started = time.monotonic()
    with _Progress(shown=not arguments.json) as progress:
        try:
            tally = run_batch(
                settings, progress.show, on_found=progress.show_found, on_stored=progress.show_stored
            )
        except KeyboardInterrupt:
            progress.close()
            print(_stopped(progress.tally), file=sys.stderr)
            return 130
    seconds = time.monotonic() - started
    print(_as_json(settings, tally, seconds) if arguments.json else _in_words(settings, tally))
    return 1 if tally.failed or tally.changed or (tally.stored and tally.stored.refused) else 0


def _print_status(arguments: argparse.Namespace) -> int:
    from dermcheck.batch.status import read_status

    status = read_status(arguments.output)
    print(json.dumps(status.to_json(), indent=2) if arguments.json else status.in_words())
    return 0


class _Progress:
    """Bars on stderr: what the input holds, then this run's photographs, then what is stored.

    What earlier runs did, and what is skipped, is taken off the total: neither costs time, and
    counting it would promise an end that is far too early.
    """

    def __init__(self, *, shown: bool) -> None:
        self.tally: Tally | None = None
        self._shown = shown
        self._bar: tqdm[NoReturn] | None = None
        self._of = ""

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar as it stands and go to a new line."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._of = None, ""

    def show_found(self, count: int) -> None:
        """Tell how much of the input has been gone through, if that takes a while."""
        bar = self._bar_of("looking at the input", "file", None, _SECONDS_BEFORE_A_BAR)
        bar.update(count - bar.n)

    def show(self, tally: Tally) -> None:
        """Bring the bar of the predictions up to date."""
        self.tally = tally
        bar = self._bar_of("predicting", "image", tally.found)
        bar.total = tally.found - tally.already - tally.skipped.total()
        bar.set_postfix(failures=tally.failed, refresh=False)
        bar.update(tally.predicted + tally.failed - bar.n)

    def show_stored(self, tally: StoreTally, total: int) -> None:
        """Bring the bar of what is stored up to date, if that takes a while."""
        bar = self._bar_of("storing", "image", total, _SECONDS_BEFORE_A_BAR)
        bar.update(tally.stored + tally.already + tally.not_dicom + len(tally.refused) - bar.n)

    def _bar_of(self, what: str, unit: str, total: int | None, delay: float = 0.0) -> tqdm[NoReturn]:
        """Give the bar; not opened before it is needed: wrong arguments are then one sentence alone."""
        if self._bar is None or self._of != what:
            self.close()
            self._bar, self._of = self._open(what, unit, total, delay), what
        return self._bar

    def _open(self, what: str, unit: str, total: int | None, delay: float) -> tqdm[NoReturn]:
        from tqdm import tqdm

        return tqdm(
            total=total,
            unit=unit,
            desc=what,
            disable=not self._shown,
            delay=delay,
            mininterval=0.1 if sys.stderr.isatty() else _SECONDS_BETWEEN_LOG_LINES,
        )


def _stopped(tally: Tally | None) -> str:
    done = f" after {_count(tally.predicted, 'image')}" if tally else ""
    return f"dermcheck: stopped{done}. Run the same command again: it goes on where it stopped."


def _in_words(settings: BatchSettings, tally: Tally) -> str:
    words = _count(tally.predicted + tally.already, "image") + " predicted"
    if tally.already:
        words += f" ({tally.already} of them by an earlier run)"
    words += f", {_count(tally.failed, 'failure')}"
    if tally.skipped:
        reasons = ", ".join(f"{number} × {reason}" for reason, number in sorted(tally.skipped.items()))
        words += f", {tally.skipped.total()} skipped ({reasons})"
    words += f". Results: {settings.output}"
    if tally.failed:
        words += f"\nWhat failed, and why: {settings.output / 'failures.csv'}"
    if tally.changed:
        words += (
            f"\n{_count(tally.changed, 'photograph')} changed after being predicted and kept the earlier "
            f"prediction (first: {tally.first_changed}). Predict again: --redo changed"
        )
    if tally.gone:
        words += (
            f"\n{_count(tally.gone, 'image')} of an earlier run {'is' if tally.gone == 1 else 'are'} gone "
            "from INPUT and left out of the tables; masks and DICOM files stay."
        )
    if tally.stored:
        words += f"\n{_stored_in_words(tally.stored)}"
    return words


def _stored_in_words(stored: StoreTally) -> str:
    words = f"Stored with their photographs: SEG and SR of {_count(stored.stored, 'image')}"
    if stored.already:
        words += f"; of {stored.already} they were there already"
    if stored.not_dicom:
        words += (
            f"; {stored.not_dicom} not stored, as they are no DICOM photographs (dermcheck import makes them "
            "such)"
        )
    for reason in stored.refused:
        words += f"\nNot stored: {reason}"
    return words


def _as_json(settings: BatchSettings, tally: Tally, seconds: float) -> str:
    from dermcheck.datastore.locations import without_password

    return json.dumps(
        {
            "input": without_password(str(settings.source)),
            "output": str(settings.output),
            "images": tally.predicted + tally.already,
            "predicted": tally.predicted,
            "already_predicted": tally.already,
            "failures": tally.failed,
            "skipped": dict(sorted(tally.skipped.items())),
            "changed": tally.changed,
            "gone": tally.gone,
            "stored": tally.stored and asdict(tally.stored),
            "seconds": round(seconds, 3),
            "images_per_second": round(tally.predicted / seconds, 3),
        },
        indent=2,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
