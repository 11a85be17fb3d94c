"""The coded terms of what DermCheck writes, and how diagnoses are recognised in what others wrote.

The seven classes are groups of diagnoses for which no context group of PS3.16 and no single SNOMED CT
concept exists (see `dermcheck.lesions`), so they are coded in a private scheme. Every object that
uses it declares it in its Coding Scheme Identification Sequence (PS3.3 C.12.1.1.1); a reader that
does not know the scheme still gets the code meanings.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydicom import Dataset
from pydicom.sr.coding import Code

from dermcheck.lesions import CODING_SCHEME, LESION_CLASSES, LesionClass

__all__ = [
    "DECISION",
    "LATERALITY",
    "MASK_AREA",
    "MORPHOLOGICALLY_ALTERED_STRUCTURE",
    "NO_UNITS",
    "PIXELS",
    "RESEARCH_USE_ONLY",
    "SKIN_LESION",
    "UNCERTAINTY",
    "class_code",
    "class_from_code",
    "class_from_text",
    "coding_schemes",
    "probability_code",
    "to_long_string",
]

RESEARCH_USE_ONLY: Final = "Research use only"
"""Stands in the description of every object written, and in the text of every report."""

MORPHOLOGICALLY_ALTERED_STRUCTURE: Final = Code("49755003", "SCT", "Morphologically Altered Structure")
"""Segmented property category (PS3.16 CID 7150)."""

SKIN_LESION: Final = Code("95324001", "SCT", "Skin lesion")
"""Segmented property type of every segment; the class refines it as a modifier."""

DECISION: Final = Code("decision", CODING_SCHEME, "Decision of the classifier")
UNCERTAINTY: Final = Code("uncertainty", CODING_SCHEME, "Normalised entropy of the class probabilities")
MASK_AREA: Final = Code("mask-area", CODING_SCHEME, "Area of the outlined lesion in pixels")
NO_UNITS: Final = Code("1", "UCUM", "no units")
PIXELS: Final = Code("{pixels}", "UCUM", "pixels")

LATERALITY: Final[Mapping[str, Code]] = MappingProxyType(
    {
        "R": Code("24028007", "SCT", "Right"),
        "L": Code("7771000", "SCT", "Left"),
        "B": Code("51440002", "SCT", "Bilateral"),
    }
)
"""Codes for Image Laterality (PS3.16 CID 244); U (unpaired) has none."""

_SCHEME_UID: Final = "2.25.9461090828577174702647627356839414457"  # drawn once as a random UUID (PS3.5 B.2)

# SNOMED CT concepts met in other makers' objects that belong to one class without doubt.
_SNOMED: Final = {"372244006": "mel", "400096001": "nv", "254701007": "bcc", "201101007": "akiec"}

# What clinicians and public data sets call members of a class, besides the names in `dermcheck.lesions`.
_SYNONYMS: Final = {
    "akiec": (
        "actinic keratosis",
        "actinic keratoses",
        "solar keratosis",
        "intraepithelial carcinoma",
        "bowen disease",
        "bowens disease",
        "bowen s disease",
        "squamous cell carcinoma in situ",
    ),
    "bcc": ("basalioma",),
    "bkl": (
        "benign keratosis",
        "seborrheic keratosis",
        "seborrhoeic keratosis",
        "solar lentigo",
        "lichen planus like keratosis",
    ),
    "df": (),
    "mel": ("malignant melanoma", "melanoma in situ"),
    "nv": ("nevus", "naevus", "nevi", "naevi", "melanocytic nevus", "melanocytic nevi", "mole"),
    "vasc": ("angioma", "haemangioma", "hemangioma", "cherry angioma", "angiokeratoma", "pyogenic granuloma"),
}


def class_code(lesion: LesionClass) -> Code:
    """Return the code of a class, e.g. ``(mel, 99DERMCHECK, "Melanoma")``."""
    return Code(lesion.name, CODING_SCHEME, lesion.meaning)


def probability_code(lesion: LesionClass) -> Code:
    """Return what names a class's probability, e.g. ``(p-mel, 99DERMCHECK, "Probability: Melanoma")``."""
    return Code(f"p-{lesion.name}", CODING_SCHEME, f"Probability: {lesion.meaning}")


def coding_schemes(source: Dataset) -> list[Dataset]:
    """Declare our coding scheme, beside those that the photograph declares for codes copied from it.

    Returns
    -------
    list of Dataset
        Items of the Coding Scheme Identification Sequence (PS3.3 C.12.1.1.1).
    """
    ours = Dataset()
    ours.CodingSchemeDesignator = CODING_SCHEME
    ours.CodingSchemeUID = _SCHEME_UID
    ours.CodingSchemeName = "DermCheck lesion classes"
    ours.CodingSchemeResponsibleOrganization = "DermCheck"
    declared = source.get("CodingSchemeIdentificationSequence") or []
    return [
        ours,
        *(item for item in declared if item.get("CodingSchemeDesignator") not in (None, CODING_SCHEME)),
    ]


def class_from_code(item: Dataset) -> LesionClass | None:
    """Recognise a class in an item of a code sequence: our own scheme, else four SNOMED CT concepts."""
    scheme, value = str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeValue", ""))
    name = value if scheme == CODING_SCHEME else _SNOMED.get(value) if scheme == "SCT" else None
    return next((lesion for lesion in LESION_CLASSES if lesion.name == name), None)


def class_from_text(text: str) -> LesionClass | None:
    """Recognise a class in a segment's label or name.

    The whole text must be one of the class's names (see `dermcheck.lesions`) or a common synonym. Ignored are
    case, punctuation, and numbers at the end, as in ``Melanoma_1`` or ``melanoma 0.71``. Parts of a
    text never match, so that ``no melanoma`` is not one.

    >>> class_from_text("Melanocytic_nevus 2").name
    'nv'
    >>> class_from_text("no melanoma") is None
    True
    """
    wanted = _plain(text)
    for lesion in LESION_CLASSES:
        names = (lesion.name, lesion.isic, lesion.meaning, *_SYNONYMS[lesion.name])
        if wanted in map(_plain, names):
            return lesion
    return None


def to_long_string(text: str) -> str:
    """Make a text fit the value representation LO (PS3.5 section 6.2).

    At most 64 characters on one line, without the backslash that separates values. Whatever a user
    typed as a name is kept as far as that allows, rather than refused.
    """
    return " ".join(re.sub(r"[\\\x00-\x1f\x7f]", " ", text).split())[:64].strip()


def _plain(text: str) -> str:
    words = re.sub(r"[\W_]+", " ", text.casefold()).split()
    while words and words[-1].isdecimal():
        words.pop()
    return " ".join(words)
