"""What is done to each photograph of a batch, stage by stage, whoever runs the stages.

read → prepare → compute → finish. Each stage is a function of what the stage before gave, and of nothing
else; everything between two stages can be pickled. So `batch.pipeline` may run them in threads, and another
engine on several machines, with the same results. What must happen in the order of the input (names, files,
journal) is left to who runs them.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from dermcheck.batch.dicom_forms import DicomForms
from dermcheck.batch.discovery import InputFile, Skipped
from dermcheck.batch.encoding import ResultFiles, ResultKind, dicom_bytes, encode_results
from dermcheck.batch.known_answers import Known, KnownAnswers
from dermcheck.batch.masks_png import mask_png
from dermcheck.batch.outcomes import Prediction
from dermcheck.batch.report import instance_uids
from dermcheck.batch.results import prediction
from dermcheck.batch.sources import FileKind, SourceImage, kind_of, read_dicom, read_photo, skipped_class
from dermcheck.dicom.files import file_name, open_file
from dermcheck.dicom.photograph import read_dataset
from dermcheck.errors import DermCheckError
from dermcheck.inference.predictor import Predictor
from dermcheck.inference.steps import ComputedPhotograph, PreparedPhotograph

__all__ = [
    "SPARE",
    "Answer",
    "Computed",
    "Prepared",
    "Read",
    "Refused",
    "Wanted",
    "compute",
    "content_digest",
    "failed",
    "finish",
    "load",
    "prepare",
    "read",
    "recall",
    "refuse",
]

SPARE = 2
"""How many pixels of a photograph are kept for one of the networks' inputs, along each side. A JPEG with
twice as many is decoded at a half, and so on; what the decoder averages would be averaged next anyway."""
_START_BYTES = 132
"""As much as tells what a file is."""
_LOOK_FIRST_BYTES = 64 * 2**20
"""Of larger DICOM files the header alone is read first: they may be videos, which are passed over."""


@dataclass(frozen=True)
class Wanted:
    """What one batch wants of each photograph."""

    masks: bool
    """PNG masks."""
    dicom: bool
    """A SEG and an SR, and for a photo that is not DICOM the instance they refer to."""
    short_side: int | None
    """Pixels along the shorter side that the networks can make use of; None to decode every pixel."""
    made_at: datetime
    """The time that stands in DICOM results."""
    conditions: str = ""
    """On what the UIDs of DICOM results depend besides photograph and models."""


@dataclass(frozen=True, eq=False)
class Read:
    """A photograph that has been decoded."""

    digest: bytes
    """SHA-256 of the file's content."""
    sop_instance_uid: str | None
    """What names a DICOM image; None for a photo."""
    source: SourceImage
    photo: bytes | None
    """The DICOM file made of a photo, where one is wanted."""
    seconds: float


@dataclass(frozen=True, eq=False)
class Refused:
    """A file of which nothing can be predicted."""

    kind: FileKind
    sop_instance_uid: str | None
    reason: str
    """A sentence that names the file by its path inside the input."""
    seconds: float


@dataclass(frozen=True, eq=False)
class Prepared:
    """A photograph as the networks see it: a megabyte or so, whatever its size."""

    known: Read
    """What is known of it, without its pixels."""
    inputs: PreparedPhotograph


@dataclass(frozen=True, eq=False)
class Computed:
    """A photograph with the networks' answers."""

    known: Read
    """What is known of it, without its pixels."""
    outputs: ComputedPhotograph


@dataclass(frozen=True, eq=False)
class Answer:
    """All that is written of one photograph, in the form in which it is written."""

    digest: bytes
    sop_instance_uid: str | None
    prediction: Prediction
    """Its `image` is empty: names are given in the order of the input."""
    files: ResultFiles
    seconds: float
    """Work on this photograph, its share of the networks' work included."""


ReadResult: TypeAlias = Read | Refused | Skipped


def content_digest(content: bytes) -> bytes:
    """Give the SHA-256 by which equal files are recognised."""
    return hashlib.sha256(content).digest()


def load(file: InputFile, path: Path) -> tuple[FileKind, bytes] | Refused | Skipped:
    """Read a file's bytes, once for all that follows; what is no image is not read to its end."""
    started = time.perf_counter()
    kind = FileKind.OTHER
    try:
        with path.open("rb") as stream:
            start = stream.read(_START_BYTES)
        kind = kind_of(start, path.suffix)
        if kind is FileKind.OTHER:
            return Skipped(file.relative, "no image file")
        if kind is FileKind.DICOM and file.size > _LOOK_FIRST_BYTES:
            header = read_dataset(path, stop_before_pixels=True)
            if reason := skipped_class(header):
                return Skipped(file.relative, reason)
        with open_file(path) as stream:
            return kind, stream.read()
    except Exception as error:  # one file must not cost the others
        return failed(file, path, kind, None, error, time.perf_counter() - started)


def read(
    file: InputFile, path: Path, kind: FileKind, content: bytes, digest: bytes, wanted: Wanted
) -> ReadResult:
    """Decode a photograph; whatever is wrong with it becomes a sentence.

    Parameters
    ----------
    file
        What the walk found.
    path
        Where it lies, for messages: `content` is what it holds.
    """
    started = time.perf_counter()
    uid = None
    try:
        if kind is FileKind.PHOTO:
            source = read_photo(path, content, as_dicom=wanted.dicom, short_side=wanted.short_side)
        else:
            dataset = read_dataset(content, name=file_name(path))
            if reason := skipped_class(dataset):
                return Skipped(file.relative, reason)
            uid = str(dataset.get("SOPInstanceUID") or "") or None
            source = read_dicom(dataset, wanted.short_side)
        photo = dicom_bytes(source.dataset) if source.wrapped and source.dataset is not None else None
        source = source.without_pixel_data()
    except Exception as error:  # one file must not cost the others
        return failed(file, path, kind, uid, error, time.perf_counter() - started)
    return Read(digest, uid, source, photo, time.perf_counter() - started)


def prepare(file: InputFile, path: Path, read: Read, predictor: Predictor) -> Prepared | Refused:
    """Make the networks' inputs, and let go of the pixels."""
    started = time.perf_counter()
    try:
        inputs = predictor.prepare(read.source.pixels, size=read.source.size)
    except Exception as error:  # one file must not cost the others
        return failed(
            file,
            path,
            _kind(read.sop_instance_uid),
            read.sop_instance_uid,
            error,
            time.perf_counter() - started,
        )
    seconds = read.seconds + time.perf_counter() - started
    return Prepared(replace(read, source=read.source.without_pixels(), seconds=seconds), inputs)


def compute(photographs: Sequence[Prepared], predictor: Predictor) -> list[Computed]:
    """Run both networks on photographs of several files together.

    Raises
    ------
    Exception
        Whatever the networks raise: who runs the stages then tries the photographs one by one.
    """
    started = time.perf_counter()
    outputs = predictor.compute([photograph.inputs for photograph in photographs])
    share = (time.perf_counter() - started) / max(1, len(photographs))
    return [
        Computed(replace(photograph.known, seconds=photograph.known.seconds + share), output)
        for photograph, output in zip(photographs, outputs, strict=True)
    ]


def finish(
    file: InputFile,
    path: Path,
    computed: Computed,
    wanted: Wanted,
    predictor: Predictor,
    forms: DicomForms,
    answers: KnownAnswers | None = None,
) -> Answer | Refused:
    """Say what the networks' answers mean, and make the bytes of all that is to be written.

    Parameters
    ----------
    answers
        Where the answer is kept for later batches.
    """
    started = time.perf_counter()
    known = computed.known
    try:
        report = predictor.finish(computed.outputs)
        files = encode_results(
            report,
            known.source.dataset,
            known.photo,
            masks=wanted.masks,
            dicom=wanted.dicom,
            forms=forms,
        )
        row = prediction("", report, known.source)
        if answers is not None:
            mask = files["mask"] if "mask" in files else mask_png(report.mask)
            answers.put(known.digest, path.suffix, report, row, mask)
    except Exception as error:  # one file must not cost the others
        return failed(
            file,
            path,
            _kind(known.sop_instance_uid),
            known.sop_instance_uid,
            error,
            time.perf_counter() - started,
        )
    seconds = known.seconds + time.perf_counter() - started
    return Answer(known.digest, known.sop_instance_uid, row, files, seconds)


def recall(
    file: InputFile,
    path: Path,
    kind: FileKind,
    content: bytes,
    digest: bytes,
    known: Known,
    wanted: Wanted,
    forms: DicomForms,
) -> Answer | Refused:
    """Make the same of a photograph that has been answered before, without decoding it where that can be."""
    started = time.perf_counter()
    uid = None
    try:
        dataset, photo = None, None
        if kind is FileKind.DICOM:
            dataset = read_dataset(content, stop_before_pixels=True, name=file_name(path))
            uid = str(dataset.get("SOPInstanceUID") or "") or None
        row = replace(known.prediction, details={**known.prediction.details, **instance_uids(dataset)})
        files: dict[ResultKind, bytes] = {"mask": known.mask} if wanted.masks else {}
        if wanted.dicom:
            if kind is FileKind.PHOTO:  # an instance is made of the pixels
                dataset = read_photo(path, content, as_dicom=True, short_side=wanted.short_side).dataset
                photo = None if dataset is None else dicom_bytes(dataset)
            report = known.report()
            files |= encode_results(report, dataset, photo, masks=False, dicom=True, forms=forms)
    except Exception as error:  # one file must not cost the others
        return failed(file, path, kind, uid, error, time.perf_counter() - started)
    return Answer(digest, uid, row, files, time.perf_counter() - started)


def refuse(file: InputFile, path: Path, prepared: Prepared, error: Exception) -> Refused:
    """Say why the networks gave no answer to a photograph."""
    uid = prepared.known.sop_instance_uid
    return Refused(_kind(uid), uid, _reason(file, path, error), prepared.known.seconds)


def _kind(sop_instance_uid: str | None) -> FileKind:
    return FileKind.PHOTO if sop_instance_uid is None else FileKind.DICOM


def failed(
    file: InputFile, path: Path, kind: FileKind, uid: str | None, error: Exception, seconds: float
) -> Refused:
    """Say why a file failed."""
    return Refused(kind, uid, _reason(file, path, error), seconds)


def _reason(file: InputFile, path: Path, error: Exception) -> str:
    """Say in a sentence why a file failed, naming it by its path inside the input."""
    relative = file_name(file.relative)
    if isinstance(error, DermCheckError):
        sentence = str(error).replace(file_name(path), relative)
        return sentence if relative in sentence else f"{relative}: {sentence}"
    if isinstance(error, OSError):
        why = error.strerror or type(error).__name__
        return f"{relative}: the file cannot be read ({why}). Check its permissions and the disk."
    # The error's own words stay out: they may quote the header, with the patient's name.
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{relative}: unexpected {type(error).__name__} at {Path(place.filename).name}:{place.lineno}. "
        "The other images are not affected; please report this line."
    )
