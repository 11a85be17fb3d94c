"""The seven lesion classes of HAM10000: the only place that knows their names, colours and codes.

The classes are groups of diagnoses, not single diagnoses (Tschandl et al. 2018, "The HAM10000
dataset"): `akiec`, `bkl` and `vasc` have no single SNOMED CT concept, and no context group of
DICOM PS3.16 covers the seven. They are therefore coded in a private scheme, `99DERMCHECK`, which
every written object declares (PS3.3 C.12.1 Coding Scheme Identification Sequence).
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["CLASSES", "CODING_SCHEME", "LESION_CLASSES", "Language", "LesionClass", "lesion_class"]

Language: TypeAlias = Literal["en", "de"]
"""In which clinicians are spoken to."""

CODING_SCHEME: Final = "99DERMCHECK"
"""Coding scheme designator of the class codes (99 marks a private scheme, PS3.16 section 8.2)."""


@dataclass(frozen=True, slots=True)
class LesionClass:
    """One of the seven classes."""

    index: int
    """Position in the network's output, 0 to 6. In label maps the value is `index + 1`."""
    name: str
    """HAM10000's short name, e.g. ``mel``; also the code value in `CODING_SCHEME`."""
    meaning: str
    """What a clinician reads, e.g. ``Melanoma``."""
    isic: str
    """Column name in the ISIC 2018 Task 3 submission format."""
    colour: tuple[int, int, int]
    """sRGB colour of the outline, from Okabe and Ito's palette for colour-vision deficiency."""
    short: str
    """The same in a few words, as within a sentence."""
    german: str
    german_short: str

    @property
    def label_value(self) -> int:
        """Value of this class in a label map, 1 to 7 (0 is background)."""
        return self.index + 1

    def within_sentence(self, language: Language) -> str:
        """Return its short name."""
        return self.german_short if language == "de" else self.short


LESION_CLASSES: Final = (
    LesionClass(
        0,
        "akiec",
        "Actinic keratosis or intraepithelial carcinoma",
        "AKIEC",
        (230, 159, 0),
        "actinic keratosis/Bowen",
        "Aktinische Keratose oder intraepitheliales Karzinom",
        "aktin. Keratose/Bowen",
    ),
    LesionClass(
        1,
        "bcc",
        "Basal cell carcinoma",
        "BCC",
        (86, 180, 233),
        "basal cell carcinoma",
        "Basalzellkarzinom",
        "Basalzellkarzinom",
    ),
    LesionClass(
        2,
        "bkl",
        "Benign keratosis-like lesion",
        "BKL",
        (0, 158, 115),
        "benign keratosis",
        "Gutartige keratoseartige Läsion",
        "gutartige Keratose",
    ),
    LesionClass(
        3, "df", "Dermatofibroma", "DF", (240, 228, 66), "dermatofibroma", "Dermatofibrom", "Dermatofibrom"
    ),
    LesionClass(4, "mel", "Melanoma", "MEL", (213, 94, 0), "melanoma", "Melanom", "Melanom"),
    LesionClass(
        5,
        "nv",
        "Melanocytic naevus",
        "NV",
        (0, 114, 178),
        "melanocytic naevus",
        "Melanozytärer Nävus",
        "melanozytärer Nävus",
    ),
    LesionClass(
        6, "vasc", "Vascular lesion", "VASC", (204, 121, 167), "vascular lesion", "Gefäßläsion", "Gefäßläsion"
    ),
)
CLASSES: Final = tuple(lesion.name for lesion in LESION_CLASSES)
"""The seven short names in the network's order."""


def lesion_class(name: str) -> LesionClass:
    """Find a class by its short name, ISIC column or meaning, whatever the case.

    Raises
    ------
    KeyError
        If no class is called so; the message lists the seven names.

    >>> lesion_class("MEL").meaning
    'Melanoma'
    """
    wanted = name.strip().casefold()
    for lesion in LESION_CLASSES:
        if wanted in (lesion.name, lesion.isic.casefold(), lesion.meaning.casefold()):
            return lesion
    raise KeyError(f"no lesion class is called {name!r}; expected one of {', '.join(CLASSES)}")
