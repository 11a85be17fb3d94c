"""Reads back the diagnosis that `write_report` wrote."""

from collections.abc import Iterator
from typing import Final, NoReturn

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dermcheck.dicom.attributes import instance_name
from dermcheck.dicom.author import Algorithm
from dermcheck.dicom.codes import DECISION, MASK_AREA, UNCERTAINTY, class_from_code, probability_code
from dermcheck.dicom.finding import DiagnosisFinding
from dermcheck.dicom.references import items
from dermcheck.dicom.report_writing import HASH_PREFIX
from dermcheck.errors import ArgumentError, UnreadableImageError
from dermcheck.lesions import LESION_CLASSES

__all__ = ["read_report"]

_NAME: Final = codes.DCM.AlgorithmName
_VERSION: Final = codes.DCM.AlgorithmVersion
_PARAMETERS: Final = codes.DCM.AlgorithmParameters


def read_report(report: Dataset) -> DiagnosisFinding:
    """Read the finding from a report of our own making.

    Numbers come back as they were written, to the last bit. The content tree is searched by concept
    name, so other content, another order and deeper nesting (after editing elsewhere) are tolerated;
    of several items of one name the first counts.

    Raises
    ------
    UnreadableImageError
        If it is not a report of a DermCheck diagnosis: the message names what is missing.
    """
    content = _Content(report)
    decision = class_from_code(content.code(DECISION))
    if decision is None:
        content.refuse("the decision is none of the seven classes")
    try:
        return DiagnosisFinding(
            probabilities={
                lesion.name: content.number(probability_code(lesion)) for lesion in LESION_CLASSES
            },
            decision=decision,
            uncertainty=content.number(UNCERTAINTY),
            algorithm=Algorithm(
                content.text(_NAME),
                content.text(_VERSION),
                content.text(_PARAMETERS).removeprefix(HASH_PREFIX),
            ),
            mask_area_px=int(content.number(MASK_AREA)),
            outline=content.polyline(),
        )
    except ArgumentError as error:
        content.refuse(str(error))


class _Content:
    """The content tree of a report, looked up by concept name and value type."""

    def __init__(self, report: Dataset) -> None:
        self._name = instance_name(report)
        self._items = list(_walk(report))

    def number(self, concept: Code) -> float:
        value = self._find(concept, "NUM")
        measured = items(value, "MeasuredValueSequence")
        if not measured or measured[0].get("NumericValue") is None:
            self.refuse(f"{concept.meaning} has no value")
        exact = measured[0].get("FloatingPointValue")  # NumericValue is rounded to 16 characters
        return float(measured[0].NumericValue if exact is None else exact)

    def code(self, concept: Code) -> Dataset:
        value = items(self._find(concept, "CODE"), "ConceptCodeSequence")
        return value[0] if value else Dataset()

    def text(self, concept: Code) -> str:
        return str(self._find(concept, "TEXT").get("TextValue") or "")

    def polyline(self) -> tuple[tuple[float, float], ...]:
        for item in self._items:
            if item.get("ValueType") == "SCOORD" and item.get("GraphicType") == "POLYLINE":
                data = [float(number) for number in item.GraphicData]
                return tuple(zip(data[::2], data[1::2], strict=True))
        return ()

    def refuse(self, why: str) -> NoReturn:
        raise UnreadableImageError(
            f"{self._name}: it is not a report of a DermCheck diagnosis ({why}). Choose another report, "
            "or analyse the photograph again."
        )

    def _find(self, concept: Code, value_type: str) -> Dataset:
        wanted = (value_type, concept.value, concept.scheme_designator)
        for item in self._items:
            for name in items(item, "ConceptNameCodeSequence"):
                if (
                    item.get("ValueType"),
                    name.get("CodeValue"),
                    name.get("CodingSchemeDesignator"),
                ) == wanted:
                    return item
        return self.refuse(f"{concept.meaning} is missing")


def _walk(item: Dataset) -> Iterator[Dataset]:
    for child in items(item, "ContentSequence"):
        yield child
        yield from _walk(child)
