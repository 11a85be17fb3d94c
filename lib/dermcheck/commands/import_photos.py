"""`dermcheck import`: JPEG, PNG and TIFF photos to DICOM."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dermcheck.errors import ArgumentError

if TYPE_CHECKING:
    from dermcheck.dicom import ImportResult, PhotoDetails

__all__ = ["register", "run"]

_DESCRIPTION = """\
Make DICOM photographs of JPEG, PNG and TIFF photos and put them into a folder of studies.
The stream of an upright JPEG is kept as it is, all else is stored without further loss.
The photos themselves are not changed, and none is imported twice.
"""
_EPILOG = """\
The options describe all photos of the command line alike. A CSV table describes each one:
its first line names the columns, of which only `file` is needed:

  file,patient,site,side,date,lesion
  IMG_0001.JPG,4711,back,,2024-01-31,back 3

Exit status: 0 all are there, 1 some could not be imported, 2 wrong arguments.

Examples:
  dermcheck import IMG_0001.JPG IMG_0002.JPG --studies ~/studies --patient 4711 --site back
  dermcheck import --csv photos.csv --studies ~/studies
"""
_SIDES: Final = {"right": "R", "left": "L", "both": "B", "unpaired": "U"}
_DETAILS: Final = {
    "patient": "patient_id",
    "site": "body_site",
    "laterality": "laterality",
    "date": "acquired",
    "tracking_id": "tracking_id",
}
"""Which detail of a photo each option gives."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "import",
        help="make DICOM of JPEG, PNG and TIFF photos",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("photos", metavar="PHOTO", nargs="*", type=Path, help="photo files")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="a table of photos, instead of PHOTO")
    parser.add_argument("--studies", metavar="DIR", required=True, help="folder of studies")
    parser.add_argument("--patient", metavar="ID", help="the clinic's number of the patient")
    parser.add_argument("--site", metavar="WORDS", help="place on the skin, e.g. 'back' or 'left cheek'")
    parser.add_argument(
        "--laterality", metavar="SIDE", type=_side, help="right, left, both or unpaired (R, L, B, U)"
    )
    parser.add_argument(
        "--date",
        metavar="DAY",
        type=_moment,
        help="when they were taken, e.g. 2024-01-31 or '2024-01-31 14:30' (default: what the camera wrote)",
    )
    parser.add_argument(
        "--tracking-id",
        metavar="NAME",
        help="name of the lesion that is followed, e.g. 'back 3', with --patient",
    )
    parser.add_argument(
        "--clinical", action="store_true", help="plain photographs, not taken through a dermatoscope"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Import, and say what became of each photo."""
    if "://" in arguments.studies:
        raise ArgumentError(
            f"--studies {arguments.studies}: an archive's address cannot be written to yet. Name a folder."
        )
    from tqdm import tqdm

    from dermcheck.dicom import import_photos

    entries = _entries(arguments)
    bar = tqdm(entries, unit="photo", desc="importing", disable=arguments.json)
    result = import_photos(bar, Path(arguments.studies))
    if arguments.json:
        print(_as_json(result, arguments.studies))
    else:
        for failure in result.failures:
            print(f"dermcheck: {failure.reason}", file=sys.stderr)
        print(
            f"{len(result.imported)} imported, {len(result.already_there)} already there, "
            f"{len(result.failures)} failed. Studies: {arguments.studies}"
        )
    return 1 if result.failures else 0


def _entries(arguments: argparse.Namespace) -> list[tuple[Path, PhotoDetails]]:
    """List the photos with their details, from the table or from the command line."""
    from dermcheck.dicom import PhotoDetails, read_details_csv

    details = {detail: value for option, detail in _DETAILS.items() if (value := getattr(arguments, option))}
    if bool(arguments.photos) == bool(arguments.csv):
        raise ArgumentError("Name either photos or a table of photos (--csv FILE).")
    if not arguments.csv:
        given = PhotoDetails(**details, dermoscopic=not arguments.clinical)
        return [(photo, given) for photo in arguments.photos]
    if details or arguments.clinical:
        raise ArgumentError(
            "With --csv the details of each photo stand in the table: make a column of each option, e.g. "
            "patient, site, laterality, date, tracking id, dermoscopic."
        )
    return read_details_csv(arguments.csv)


def _as_json(result: ImportResult, studies: str) -> str:
    return json.dumps(
        {
            "studies": studies,
            "imported": [str(path) for path in result.imported],
            "already_there": [str(path) for path in result.already_there],
            "failures": [
                {"photo": str(failure.photo), "reason": failure.reason} for failure in result.failures
            ],
        },
        indent=2,
    )


def _side(text: str) -> str:
    simple = text.strip().casefold()
    for word, letter in _SIDES.items():
        if simple in (word, letter.casefold()):
            return letter
    raise argparse.ArgumentTypeError(f"{text!r} is no side, expected {', '.join(_SIDES)}")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no local date, expected one like 2024-01-31 or '2024-01-31 14:30'"
        )
    return moment
