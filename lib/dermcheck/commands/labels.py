"""`dermcheck labels`: what people labelled, how far they agree, and which labels are probably wrong."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermcheck.commands.models import text_table
from dermcheck.commands.serve import STUDIES_VARIABLE
from dermcheck.errors import ArgumentError, StorageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dermcheck.active_learning.agreement import Reading
    from dermcheck.active_learning.doubtful_studies import Embed
    from dermcheck.active_learning.label_quality import LabelQuality
    from dermcheck.datastore import StudyStore
    from dermcheck.dicom.pixels import RGBImage
    from dermcheck.inference import Predictor

__all__ = ["register"]

_DESCRIPTION = """\
Look after the labels that people made: list them with who, when, how long and what was
changed; compare readers of the same photographs; find labels that are probably wrong;
take one back. Nothing stored is ever changed or removed.
"""
_EPILOG = f"""\
Without --studies, the environment variable {STUDIES_VARIABLE} counts.
Exit status: 0 done, 1 the work could not be done, 2 wrong arguments.

Example:
  dermcheck labels list --studies ~/studies
  dermcheck labels agreement --studies ~/studies --consensus consensus
  dermcheck labels suspicious --studies ~/studies --json
  dermcheck labels withdraw 1.2.826.0.1 --by "Doe^Jane" --studies ~/studies
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "labels",
        help="list labels, compare readers, find labels that are probably wrong",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _action(actions, "list", "all labels by persons: who, when, how long, what was changed", _list)
    agreement = _action(actions, "agreement", "how far readers of the same photographs agree", _agreement)
    agreement.add_argument(
        "--consensus", metavar="DIR", type=Path,
        help="write what they agree upon: one Segmentation and one picture for each photograph",
    )  # fmt: skip
    suspicious = _action(actions, "suspicious", "labels whose diagnosis is probably wrong", _suspicious)
    suspicious.add_argument(
        "--most-confidence", metavar="P", type=float,
        help="list a label if its diagnosis is at most this probable (default: 0.03)",
    )  # fmt: skip
    withdrawn = _action(actions, "withdraw", "take a label back; it is kept, and does not count", _withdraw)
    withdrawn.add_argument("label", metavar="LABEL", help="its SOPInstanceUID, as `list --json` gives it")
    withdrawn.add_argument("--by", metavar="NAME", required=True, help="who takes it back, e.g. Doe^Jane")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, words: str, run: Any
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name, help=words, description=f"{words[0].upper()}{words[1:]}.", allow_abbrev=False
    )
    parser.add_argument("--studies", metavar="DIR_OR_URL", help="folder of DICOM files, or DICOMweb address")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)
    return parser


def _open(arguments: argparse.Namespace) -> StudyStore:
    from dermcheck.datastore import StudyStore

    location = arguments.studies or os.environ.get(STUDIES_VARIABLE)
    if not location:
        raise ArgumentError("Whose labels? Name the studies: --studies DIR_OR_URL.")
    return StudyStore.open(location, watch=False)


def _list(arguments: argparse.Namespace) -> int:
    from dermcheck.active_learning.label_quality import list_labels

    with _open(arguments) as store:
        labels, problems = list_labels(store, progress=not arguments.json)
    if arguments.json:
        _print_json({"labels": [label.to_json() for label in labels], "problems": problems})
        return 0
    head = ["when", "who", "photograph", "state", "diagnosis", "proposed", "seconds", "changed"]
    print(f"{len(labels)} labels")
    print(text_table([head, *(_label_row(label) for label in labels)]))
    _tell(problems)
    return 0


def _label_row(label: LabelQuality) -> list[str]:
    share = label.changed_share
    return [
        f"{label.at:%Y-%m-%d %H:%M}" if label.at else "",
        label.reader or "",
        f"…{label.image[-12:]}",
        label.state,
        ", ".join(name or "none" for name in label.diagnoses) or "no lesion",
        label.record.proposed_class or "",
        "" if label.record.seconds is None else f"{label.record.seconds:.0f}",
        "" if share is None else f"{label.record.changed_px} px ({share:.0%})",
    ]


def _agreement(arguments: argparse.Namespace) -> int:
    from dermcheck.active_learning.agreement import compare_readings, read_readings, summarise

    with _open(arguments) as store:
        readings, problems = read_readings(store, progress=not arguments.json)
        written = _write_consensus(store, readings, arguments.consensus) if arguments.consensus else []
    pairs = [pair for each in readings.values() for pair in compare_readings(each)]
    summary = summarise(pairs)
    if arguments.json:
        _print_json(
            {
                "readers": [asdict(each) for each in summary],
                "photographs": [asdict(each) for each in pairs],
                "consensus": [str(path) for path in written],
                "problems": problems,
            }
        )
        return 0
    if not summary:
        print("No photograph has labels by several people: there is no agreement to measure.")
    else:
        rows = [
            [
                " and ".join(each.readers),
                str(each.photographs),
                f"{each.mean_dice:.3f}",
                f"{each.same_diagnosis} of {each.both_diagnosed}",
                "not defined" if each.kappa is None else f"{each.kappa:.3f}",
            ]
            for each in summary
        ]
        print(text_table([["readers", "photographs", "mean Dice", "same diagnosis", "kappa"], *rows]))
    if written:
        print(f"\n{len(written)} files in {arguments.consensus}")
    _tell(problems)
    return 0


def _write_consensus(store: StudyStore, readings: dict[str, list[Reading]], folder: Path) -> list[Path]:
    from PIL import Image

    from dermcheck.active_learning.agreement import consensus, consensus_segmentation, marked_picture
    from dermcheck.dicom.photograph import read_photograph

    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for image, each in readings.items():
            found, photograph = consensus(each), store.retrieve(image)
            path = folder / f"{image}.consensus.seg.dcm"
            consensus_segmentation(photograph, found).save_as(path, enforce_file_format=True)
            picture = path.with_name(f"{image}.consensus.png")
            Image.fromarray(marked_picture(read_photograph(photograph).pixels, found)).save(picture)
            written += [path, picture]
    except OSError as error:
        raise StorageError(
            f"{folder}: the consensus cannot be written ({error.strerror}). Choose another folder."
        ) from error
    return written


def _suspicious(arguments: argparse.Namespace) -> int:
    from dermcheck.active_learning.doubtful_studies import check_studies
    from dermcheck.active_learning.suspicious_labels import MOST_CONFIDENCE

    most = MOST_CONFIDENCE if arguments.most_confidence is None else arguments.most_confidence
    if not 0 <= most <= 1:
        raise ArgumentError(f"--most-confidence is {most}, expected a probability from 0 to 1.")
    with _open(arguments) as store:
        doubtful, checked, problems = check_studies(
            store, _reference_encoder(), most_confidence=most, progress=not arguments.json
        )
    if arguments.json:
        _print_json(
            {"checked": checked, "suspicious": [asdict(each) for each in doubtful], "problems": problems}
        )
        return 0
    head = ["photograph", "who", "label says", "probability", "likely", "probability"]
    rows = [
        [
            each.image,
            each.reader or "",
            each.given,
            f"{each.confidence:.3f}",
            each.likely,
            f"{each.likely_probability:.3f}",
        ]
        for each in doubtful
    ]
    count = f"{len(doubtful)} of {checked} labels look wrong"
    print(f"{count}. Have them read again, e.g. with the strategy second_reading.\n" if rows else f"{count}.")
    if rows:
        print(text_table([head, *rows]))
    _tell(problems)
    return 0


def _reference_encoder() -> Embed:
    """Return the shipped models' encoder: it has not learnt from this clinic's labels."""
    import numpy as np

    loaded: list[Predictor] = []  # only once there is something to look at

    def embed(photographs: Sequence[RGBImage]) -> npt.NDArray[np.float32]:
        from dermcheck.inference import Predictor

        if not loaded:
            loaded.append(Predictor.load())
        computed = loaded[0].compute([loaded[0].prepare(pixels) for pixels in photographs])
        vectors = [each.features for each in computed if each.features is not None]
        assert len(vectors) == len(photographs)  # noqa: S101  # the shipped classifier has features
        return np.stack(vectors)

    return embed


def _withdraw(arguments: argparse.Namespace) -> int:
    from dermcheck.active_learning.withdrawal import withdraw
    from dermcheck.dicom.author import Clinician

    with _open(arguments) as store:
        stored = withdraw(store, arguments.label, Clinician(arguments.by))
    if arguments.json:
        _print_json({"withdrawn": arguments.label, "stored": stored})
    else:
        print(f"Label {arguments.label} does not count any more. It is kept; {stored} says who took it back.")
    return 0


def _print_json(values: Any) -> None:
    print(json.dumps(values, indent=2, ensure_ascii=False))


def _tell(problems: Sequence[str]) -> None:
    for problem in problems:
        print(f"Problem: {problem}", file=sys.stderr)
