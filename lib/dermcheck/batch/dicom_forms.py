"""SEG and SR of many photographs, from forms that are filled in.

What `encoding.dicom_results` makes by highdicom is taken as it is, once for each *kind* of photograph: one
that has the same attributes, the same codes, the same decision and so on. From two such examples, the
photograph itself and a copy of it in which all that is its own has been exchanged, a `Form` is learnt; the
next photographs of that kind only fill it in. A form that is not the same to the byte as what it was learnt
from, or that cannot be learnt, is not used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeAlias

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DSfloat

from dermcheck.batch.identity import dependent_uids, result_uid, tracking_uid
from dermcheck.dicom.finding import DiagnosisFinding
from dermcheck.dicom.forms import Form, FormError, Values
from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.dicom.inheritance import reference_header
from dermcheck.dicom.segmentation import LesionMask, LesionSegment
from dermcheck.dicom.tracking import choose_tracking
from dermcheck.inference.report import LesionReport
from dermcheck.lesions import CLASSES

__all__ = ["DicomForms", "MakeResults", "lesion_of"]

MakeResults: TypeAlias = Callable[[Dataset, LesionReport, datetime], tuple[Dataset, Dataset]]
"""Makes SEG and SR by building them."""

_OWN_TEXT: Final = frozenset({"AS", "DA", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"})
_OWN: Final = frozenset({"PatientSex", "LossyImageCompressionRatio", "Rows", "Columns"})
"""Value representations and attributes whose single values are a photograph's own and are only copied.
Everything else decides about the kind."""
_KIND: Final = frozenset({"SOPClassUID", "NumberOfFrames", "SpecificCharacterSet"})
_MOST_KINDS: Final = 256


@dataclass(frozen=True)
class _Forms:
    seg: Form
    sr: Form


class DicomForms:
    """Forms for one batch. Any number of threads may use one.

    Parameters
    ----------
    make
        Builds both objects.
    made_at
        The time that stands in them.
    conditions
        On what their UIDs depend besides photograph and models, as with `make`.
    """

    def __init__(self, make: MakeResults, made_at: datetime, conditions: str = "") -> None:
        self._make = make
        self.made_at = made_at
        self.conditions = conditions
        self._forms: dict[object, _Forms | None] = {}
        self._access = threading.Lock()

    def fill(self, photograph: Dataset, report: LesionReport) -> tuple[bytes, bytes] | None:
        """Give SEG and SR as files; None where this photograph's have to be built."""
        header, reference = read_header(photograph), reference_header(photograph)
        finding = DiagnosisFinding.from_mask(
            report.mask, report.probabilities, report.decision, report.uncertainty, report.classifier
        )
        kind = _kind(header, reference, report, finding)
        with self._access:
            if kind not in self._forms:
                if len(self._forms) >= _MOST_KINDS:
                    return None
                self._forms[kind] = self._learn(photograph, report)
            forms = self._forms[kind]
        if forms is None:
            return None
        values = _values(header, reference, report, finding, self.conditions)
        return forms.seg.fill(values), forms.sr.fill(values)

    def _learn(self, photograph: Dataset, report: LesionReport) -> _Forms | None:
        other = _other_photograph(photograph)
        other_report = _other_report(report, other.Rows, other.Columns)
        mine = _all_values(photograph, report, self.conditions)
        theirs = _all_values(other, other_report, self.conditions)
        examples = self._make(photograph, report, self.made_at)
        others = self._make(other, other_report, self.made_at)
        try:
            seg, sr = (
                Form.learn(example, mine, against, theirs)
                for example, against in zip(examples, others, strict=True)
            )
        except FormError:  # a kind of photograph that has to be built each time: slower, not wrong
            return None
        return _Forms(seg, sr)


def lesion_of(header: PhotographHeader, mask: LesionMask, report: LesionReport) -> LesionSegment:
    """Describe the outlined lesion; of a photograph that names none, the identity is derived from its UID."""
    tracked = header.tracking_uid is not None or header.tracking_id is not None
    return LesionSegment(
        mask,
        report.decision,
        tracking_id=header.tracking_id,
        tracking_uid=header.tracking_uid if tracked else tracking_uid(header.sop_instance_uid),
    )


def _is_own(element: DataElement) -> bool:
    """Tell whether an element's value is one photograph's alone and not empty."""
    if isinstance(element.value, MultiValue) or element.value in (None, ""):
        return False
    return element.keyword in _OWN or (element.VR in _OWN_TEXT and element.keyword not in _KIND)


def _kind(
    header: PhotographHeader, reference: Dataset, report: LesionReport, finding: DiagnosisFinding
) -> object:
    """Say all on which the objects depend, except the values that are filled in."""
    return (
        tuple((element.tag, _is_own(element) or repr(element.value)) for element in reference),
        header.pixel_spacing_mm,
        header.laterality,
        header.number_of_frames,
        header.tracking_id is None,
        header.tracking_uid is None,
        report.decision.name,
        report.classifier,
        report.outliner,
        bool(finding.outline),
        bool(report.mask.any()),
    )


def _values(
    header: PhotographHeader,
    reference: Dataset,
    report: LesionReport,
    finding: DiagnosisFinding,
    conditions: str,
) -> dict[str, Any]:
    """Give everything that may be filled in, by name."""
    segment = lesion_of(header, report.mask, report)
    named, followed = choose_tracking(header, segment.tracking_id, segment.tracking_uid, is_only_lesion=True)
    values: dict[str, Any] = {
        element.keyword or str(element.tag): element.value for element in reference if _is_own(element)
    }
    for kind in ("seg", "sr"):
        uid = result_uid(
            header.sop_instance_uid, kind, report.classifier, report.outliner, conditions=conditions
        )
        series, dimensions = dependent_uids(uid)
        values |= {f"{kind} instance": uid, f"{kind} series": series, f"{kind} dimensions": dimensions}
    measured = {f"probability of {name}": report.probabilities[name] for name in CLASSES}
    for name, value in {**measured, "uncertainty": report.uncertainty}.items():
        values |= {name: _number(value), f"{name}, in full": float(value)}  # highdicom writes both
    values |= {
        "tracking id": named,
        "tracking uid": followed,
        "area": _number(finding.mask_area_px),
        "outline": np.asarray(finding.outline, np.float32).ravel(),
        "pixels": packed_mask(report.mask),
    }
    return values


def packed_mask(mask: LesionMask) -> bytes:
    """Pack a mask to bits as PS3.5 8.1.1 has it, the first pixel lowest, to an even number of bytes."""
    packed = np.packbits(mask.ravel(), bitorder="little")
    return packed.tobytes() + bytes(packed.size % 2)


def _number(value: float) -> str:
    """Write a number as highdicom writes measurements."""
    return str(DSfloat(value, auto_format=True))


def _all_values(photograph: Dataset, report: LesionReport, conditions: str) -> Values:
    finding = DiagnosisFinding.from_mask(
        report.mask, report.probabilities, report.decision, report.uncertainty, report.classifier
    )
    return _values(read_header(photograph), reference_header(photograph), report, finding, conditions)


def _other_photograph(photograph: Dataset) -> Dataset:
    """Copy a photograph and exchange all that is its own, each value for another that occurs nowhere else."""
    other = deepcopy(photograph)
    other.Rows, other.Columns = photograph.Rows + 37, photograph.Columns + 53
    for number, element in enumerate(reference_header(photograph)):
        if _is_own(element) and element.keyword not in ("Rows", "Columns"):
            other[element.tag].value = _other_value(element, number)
    return other


def _other_value(element: DataElement, number: int) -> str:
    texts = {
        "AS": f"{number % 90 + 10:03}Y",
        "CS": "F" if element.value == "M" else "M",
        "DA": f"1901{number // 28 % 12 + 1:02}{number % 28 + 1:02}",
        "DS": f"{number}.0625",
        "DT": f"1902{number // 28 % 12 + 1:02}{number % 28 + 1:02}101112",
        "IS": str(7000 + number),
        "PN": f"Form^{number}",
        "TM": f"0102{number % 60:02}.{number:06}",
        "UI": f"2.25.{7919 * 10**20 + number}",
    }
    return texts.get(element.VR, f"form {number}")


def _other_report(report: LesionReport, rows: int, columns: int) -> LesionReport:
    """Give other probabilities and another mask, which is empty only if the report's is."""
    mask = np.zeros((rows, columns), np.bool_)
    if report.mask.any():
        mask[rows // 7 : rows // 7 + 3, columns // 5 : columns // 5 + 5] = True
        mask[rows // 7 + 1, columns // 5 + 5] = True
    probabilities = {name: (number + 1) / 29 for number, name in enumerate(CLASSES)}
    return replace(report, mask=mask, probabilities=probabilities, uncertainty=0.8765)
