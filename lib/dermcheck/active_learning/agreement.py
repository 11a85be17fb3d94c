"""How far readers of the same photographs agree, and what they agree upon."""

from __future__ import annotations

import itertools
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import multimode
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy.ndimage import binary_erosion
from sklearn.metrics import cohen_kappa_score
from tqdm import tqdm

from dermcheck.dicom.author import Algorithm
from dermcheck.dicom.segmentation import LesionSegment, read_segmentation, write_segmentation
from dermcheck.dicom.segments import dice_index, only_class, union_of
from dermcheck.errors import DermCheckError
from dermcheck.lesions import LesionClass, lesion_class

if TYPE_CHECKING:
    from pydicom import Dataset

    from dermcheck.datastore import StudyStore
    from dermcheck.dicom.segments import LesionMask

__all__ = [
    "Consensus",
    "PairAgreement",
    "ReaderPair",
    "Reading",
    "compare_readings",
    "consensus",
    "consensus_segmentation",
    "marked_picture",
    "read_readings",
    "summarise",
]

_UNKNOWN: Final = "Unknown"
_MARGIN_PX: Final = 8
"""Around all outlines, for STAPLE: far outside all readers agree, which would say nothing of them."""
_CONSENSUS_COLOUR: Final = (0, 158, 115)
_DISAGREEMENT_COLOUR: Final = (213, 94, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one reader says of one photograph: the newest of the labels that are not withdrawn."""

    image: str
    label: str
    """SOPInstanceUID."""
    reader: str
    mask: LesionMask
    """(rows, columns), the union of the lesions."""
    diagnosis: str | None
    """Short name of the class; None if none or several were named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAgreement:
    """Two readers of one photograph."""

    image: str
    readers: tuple[str, str]
    labels: tuple[str, str]
    dice: float
    diagnoses: tuple[str | None, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderPair:
    """Two readers over all photographs that both have read."""

    readers: tuple[str, str]
    photographs: int
    mean_dice: float
    both_diagnosed: int
    """Photographs for which both named a class."""
    same_diagnosis: int
    kappa: float | None
    """Cohen's kappa of the diagnoses; None where it is not defined: no photograph, or one class only."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Consensus:
    """What the readers of one photograph agree upon."""

    mask: LesionMask
    """(rows, columns): more probably inside the lesion than not, by STAPLE."""
    disagreement: LesionMask
    """Where not all readers say the same."""
    diagnosis: str | None
    """The class that most readers named; None where that is not one."""
    readers: tuple[str, ...]
    sensitivity: tuple[float, ...]
    """Of each reader against the consensus, 0 to 1."""
    specificity: tuple[float, ...]
    """The same, within the surroundings of the outlines."""


def read_readings(store: StudyStore, *, progress: bool = False) -> tuple[dict[str, list[Reading]], list[str]]:
    """Read the labels of all photographs that several people have labelled.

    Returns
    -------
    readings
        By photograph; at least two readers each.
    problems
        Sentences about labels that cannot be read; these are left out.

    Raises
    ------
    StorageError
        If the archive does not answer.
    """
    found: dict[str, list[Reading]] = {}
    problems: list[str] = []
    for image in tqdm(store.image_ids(), desc="reading labels", unit="photograph", disable=not progress):
        newest = {
            label.creator or _UNKNOWN: label for label in store.labels(image) if not label.automatic
        }  # oldest first: newer ones replace
        if len(newest) < 2:
            continue
        answers = [
            _try_to_read(store, image, label.sop_instance_uid, reader) for reader, label in newest.items()
        ]
        readings = [answer for answer in answers if isinstance(answer, Reading)]
        problems += [answer for answer in answers if isinstance(answer, str)]
        if len(readings) > 1:
            found[image] = readings
    return found, problems


def _try_to_read(store: StudyStore, image: str, label: str, reader: str) -> Reading | str:
    try:
        return _read(store, image, label, reader)
    except DermCheckError as error:
        return f"A label is left out: {error}"


def _read(store: StudyStore, image: str, label: str, reader: str) -> Reading:
    header = store.header(image)
    segments = read_segmentation(store.retrieve_label(label), header)
    diagnosis = only_class(segments)
    return Reading(
        image=image,
        label=label,
        reader=reader,
        mask=union_of(segments, header),
        diagnosis=diagnosis.name if diagnosis else None,
    )


def compare_readings(readings: Sequence[Reading]) -> list[PairAgreement]:
    """Compare each two readers of one photograph."""
    return [
        PairAgreement(
            image=first.image,
            readers=(first.reader, second.reader),
            labels=(first.label, second.label),
            dice=dice_index(first.mask, second.mask),
            diagnoses=(first.diagnosis, second.diagnosis),
        )
        for first, second in itertools.combinations(sorted(readings, key=lambda each: each.reader), 2)
    ]


def summarise(pairs: Iterable[PairAgreement]) -> list[ReaderPair]:
    """Sum up by readers."""
    by_readers: dict[tuple[str, str], list[PairAgreement]] = defaultdict(list)
    for pair in pairs:
        by_readers[pair.readers].append(pair)
    return [_sum_up(readers, by_readers[readers]) for readers in sorted(by_readers)]


def _sum_up(readers: tuple[str, str], pairs: Sequence[PairAgreement]) -> ReaderPair:
    named = [pair.diagnoses for pair in pairs if None not in pair.diagnoses]
    return ReaderPair(
        readers=readers,
        photographs=len(pairs),
        mean_dice=float(np.mean([pair.dice for pair in pairs])),
        both_diagnosed=len(named),
        same_diagnosis=sum(first == second for first, second in named),
        kappa=_kappa([str(first) for first, _ in named], [str(second) for _, second in named]),
    )


def _kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Return Cohen's kappa; agreement by chance is certain where both name one class only."""
    if len({*first, *second}) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is not defined, which is None here
        kappa = float(cohen_kappa_score(first, second))
    return kappa if np.isfinite(kappa) else None


def consensus(readings: Sequence[Reading]) -> Consensus:
    """Find out what readers agree upon, by STAPLE (Warfield, Zou and Wells, IEEE TMI 2004).

    STAPLE estimates how reliable each reader is together with the true outline. Where it has nothing
    to estimate, as all outlines are the same or empty, they are the consensus.

    Parameters
    ----------
    readings
        Of one photograph, at least one.
    """
    masks = [reading.mask for reading in readings]
    union = np.logical_or.reduce(masks)
    common = np.logical_and.reduce(masks)
    agreed = union & _staple(masks, union) if (union != common).any() else union
    window = _window(union)
    return Consensus(
        mask=agreed,
        disagreement=union & ~common,
        diagnosis=_most(reading.diagnosis for reading in readings),
        readers=tuple(reading.reader for reading in readings),
        sensitivity=tuple(_share(mask & agreed, agreed) for mask in masks),
        specificity=tuple(_share((~mask & ~agreed)[window], (~agreed)[window]) for mask in masks),
    )


def _staple(masks: Sequence[LesionMask], union: LesionMask) -> LesionMask:
    window = _window(union)
    images = [SimpleITK.GetImageFromArray(mask[window].astype(np.uint8)) for mask in masks]
    estimator = SimpleITK.STAPLEImageFilter()
    estimator.SetForegroundValue(1)
    inside = SimpleITK.GetArrayFromImage(estimator.Execute(images))
    if not np.isfinite(inside).all():  # readers who have nothing in common: what most say
        inside = np.mean([mask[window] for mask in masks], axis=0)
    agreed = np.zeros(union.shape, np.bool_)
    agreed[window] = inside > 0.5
    return agreed


def _window(union: LesionMask) -> tuple[slice, slice]:
    """Return the surroundings of all outlines; the whole photograph where there is none."""
    rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
    if not len(rows):
        return slice(None), slice(None)
    return (
        slice(max(0, int(rows[0]) - _MARGIN_PX), int(rows[-1]) + _MARGIN_PX + 1),
        slice(max(0, int(columns[0]) - _MARGIN_PX), int(columns[-1]) + _MARGIN_PX + 1),
    )


def _share(part: LesionMask, whole: LesionMask) -> float:
    return int(part.sum()) / int(whole.sum()) if whole.any() else 1.0


def _most(diagnoses: Iterable[str | None]) -> str | None:
    most = multimode(diagnoses)
    return most[0] if len(most) == 1 else None


def consensus_segmentation(photograph: Dataset, found: Consensus) -> Dataset:
    """Write a consensus as a Segmentation: the consensus as first segment, the disagreement as second.

    It is AUTOMATIC: no person has drawn it, and it replaces no label.

    Raises
    ------
    MaskError, UnreadableImageError
        As `write_segmentation`.
    """
    named: LesionClass | None = lesion_class(found.diagnosis) if found.diagnosis else None
    segments = [
        LesionSegment(found.mask, named, label=f"Consensus of {len(found.readers)} readers"),
        LesionSegment(found.disagreement, None, label="Readers disagree"),
    ]
    author = Algorithm("STAPLE over human outlines", SimpleITK.Version.VersionString(), "no weights")
    return write_segmentation(photograph, segments, author)


def marked_picture(pixels: npt.NDArray[np.uint8], found: Consensus) -> npt.NDArray[np.uint8]:
    """Draw the consensus' border in green and the disagreement in orange over a photograph.

    Parameters
    ----------
    pixels
        (rows, columns, 3) uint8 RGB; not altered.
    """
    marked = pixels.copy()
    tint = np.array(_DISAGREEMENT_COLOUR, np.float32)
    marked[found.disagreement] = (0.5 * marked[found.disagreement] + 0.5 * tint).astype(np.uint8)
    marked[_border(found.mask)] = _CONSENSUS_COLOUR
    return marked


def _border(mask: LesionMask) -> LesionMask:
    """Return the pixels inside that touch the outside or the photograph's edge."""
    return np.asarray(mask & ~binary_erosion(mask))
