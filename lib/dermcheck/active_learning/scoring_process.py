"""The process that scores photographs: `python -m dermcheck.active_learning.scoring_process`.

A process of its own, at the lowest priority: it shares no lock of Python's with the server, the system gives
it only what clinicians' work leaves over, and a file that makes a decoder crash ends this process and nothing
else. It reads jobs from its standard input and writes answers to its standard output, a line of JSON for each
batch; it ends when its input does, so it never outlives the server. It changes nothing anywhere.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from dermcheck.active_learning.score_cache import FollowedLesion
from dermcheck.active_learning.scoring import model_key, score_photographs
from dermcheck.datastore.archive_access import ArchiveAccess
from dermcheck.datastore.catalogue import Catalogue
from dermcheck.datastore.web_archive import WebArchive
from dermcheck.dicom.photograph import Photograph, read_dataset, read_photograph
from dermcheck.dicom.segmentation_reading import segment_classes
from dermcheck.errors import DermCheckError, NotFoundError, StorageError
from dermcheck.inference.priors import clinic_prior

if TYPE_CHECKING:
    from pydicom import Dataset

    from dermcheck.active_learning.scoring import PhotographScores
    from dermcheck.dicom.header import PhotographHeader
    from dermcheck.inference.predictor import Predictor

__all__ = ["answer", "followed_lesion", "main", "make_source"]

logger = logging.getLogger(__name__)

_PASSING: Final = (StorageError, NotFoundError)
"""Errors of a disk or archive that may be back in a minute."""


class Source(Protocol):
    """Where instances are read from."""

    def __call__(self, job: dict[str, Any], *, header_only: bool = False) -> Dataset:
        """Read the instance of a job."""


def main() -> int:
    """Answer jobs until there are no more.

    The first line of input says where models and photographs are: `models` or `registry` (folders), and
    `archive` (DICOMweb address, which may hold a password and so is no argument) or null.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    lines = _claim_stdout()
    places = json.loads(sys.stdin.readline())
    try:
        predictor = _load(places["models"], places["registry"])
        source = make_source(places["archive"])
    except DermCheckError as error:
        _tell(lines, {"problem": str(error)})
        return 1
    key = model_key(predictor.classifier_card.sha256, predictor.outliner_card.sha256, clinic_prior())
    _tell(lines, {"model": key})
    for line in sys.stdin:
        _tell(lines, {"answers": answer(json.loads(line)["jobs"], predictor, source)})
    return 0


def _claim_stdout() -> Any:
    """Keep standard output for answers: what a library prints goes to the log."""
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return lines


def _tell(lines: Any, told: dict[str, Any]) -> None:
    lines.write(json.dumps(told) + "\n")
    lines.flush()


def _load(models: str | None, registry: str | None) -> Predictor:
    from dermcheck.inference.predictor import Predictor

    if models is not None:
        return Predictor.load(Path(models), natural_prior=clinic_prior())
    from dermcheck.registry import Registry
    from dermcheck.registry.serving import load_serving

    return load_serving(Registry.open(Path(registry) if registry else None)).predictor


def make_source(archive: str | None) -> Source:
    """Make what reads the instances of jobs: files, or an archive by its DICOMweb address."""
    client = WebArchive.connect(ArchiveAccess.from_environment(archive), Catalogue()) if archive else None

    def read(job: dict[str, Any], *, header_only: bool = False) -> Dataset:
        if client is None:
            return read_dataset(Path(job["path"]), stop_before_pixels=header_only)
        return client.retrieve_instance(job["study"], job["series"], job["instance"])

    return read


def answer(jobs: Sequence[dict[str, Any]], predictor: Predictor, source: Source) -> list[dict[str, Any]]:
    """Answer one batch, in its order.

    Parameters
    ----------
    jobs
        Each with `kind` ("photograph" or "label"), `instance` (SOPInstanceUID), and `path`, or `study` and
        `series`.

    Returns
    -------
    list of dict
        Each with `instance` and either `scores` and `lesion`, or `lesion_class`, or `problem` with `lasting`:
        whether the same would happen again.
    """
    answers: list[dict[str, Any]] = []
    read: list[Photograph] = []
    places: list[int] = []
    for place, job in enumerate(jobs):
        answers.append({"instance": job["instance"]})
        try:
            if job["kind"] == "label":
                answers[-1]["lesion_class"] = _label_class(source(job, header_only=True))
            else:
                read.append(read_photograph(source(job)))
                places.append(place)
        except DermCheckError as error:
            answers[-1] |= {"problem": str(error), "lasting": not isinstance(error, _PASSING)}
    if not read:
        return answers
    try:
        scores = score_photographs(predictor, [photograph.pixels for photograph in read])
    except ValueError as error:  # a network that answers with what is no number
        for place in places:
            answers[place] |= {"problem": f"The models give no answer ({error}).", "lasting": True}
        return answers
    for place, photograph, found in zip(places, read, scores, strict=True):
        lesion = followed_lesion(photograph.header)
        answers[place] |= {"scores": _plain(found), "lesion": _plain_lesion(lesion)}
    return answers


def _label_class(label: Dataset) -> int:
    """Return the index of the diagnosis of a label's first lesion that has one, else -1."""
    return next((found.index for found in segment_classes(label) if found), -1)


def followed_lesion(header: PhotographHeader) -> FollowedLesion:
    """Say which lesion a photograph shows."""
    return FollowedLesion(
        patient=header.patient_key,
        tracking=header.tracking_uid or header.tracking_id,
        name=header.tracking_id,
        site=header.anatomic_site,
        laterality=header.laterality,
        acquired=header.acquired,
    )


def _plain(scores: PhotographScores) -> dict[str, Any]:
    return asdict(scores) | {
        "probabilities": scores.probabilities.tolist(),
        "embedding": scores.embedding.tolist(),
    }


def _plain_lesion(lesion: FollowedLesion) -> dict[str, Any]:
    return asdict(lesion) | {"acquired": lesion.acquired.isoformat() if lesion.acquired else None}


if __name__ == "__main__":
    sys.exit(main())
