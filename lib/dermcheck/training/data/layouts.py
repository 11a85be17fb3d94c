"""Data sets in folders: HAM10000's own layout, ISIC 2018 Task 1 and Task 3, folders with a ``labels.csv``.

All are read by one rule. Pictures are found by their names, wherever they lie in the folder; a mask is called
as its picture with ``_segmentation`` behind; every table tells something of the pictures that it names:

- HAM10000: ``HAM10000_metadata.csv`` (lesion_id, image_id, dx, age, sex, localization), pictures anywhere;
- ISIC 2018 Task 1: pictures and masks, no table; diagnoses in a table beside (`diagnoses`) if there are any;
- ISIC 2018 Task 3: a ground truth with one column a class (image, MEL, NV, ...), and the lesion groupings;
- ``labels.csv`` with image_id and any of dx, lesion_id, patient_id, fold, age, sex, localization, device.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from dermcheck.training.data.data_set import DataError, DataSet, LabelledPhotograph, MaskFile, PictureFile
from dermcheck.training.data.tables import TABLE_SUFFIXES, Facts, read_tables
from dermcheck.training.data.wording import counted

__all__ = ["open_data_set"]

_PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
_MASK_ENDING: Final = "_segmentation"
_NOT_PHOTOGRAPHS: Final = re.compile(r"_superpixels$|_attribute_\w+$")
"""What ISIC 2018 puts beside the photographs of Task 1 and 2."""


@dataclass(slots=True)
class _Files:
    """What lies in a folder, by name without extension."""

    pictures: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    """By the name of the picture."""
    tables: list[Path] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    """Names of several files, of which the first in alphabetical order counts."""

    def add(self, path: Path) -> None:
        """Sort one file in; others than pictures, masks and tables are passed over."""
        stem, suffix = path.stem, path.suffix.casefold()
        if suffix in TABLE_SUFFIXES or path.name == "HAM10000_metadata":  # as Dataverse names it
            self.tables.append(path)
        elif suffix in _PICTURE_SUFFIXES and not _NOT_PHOTOGRAPHS.search(stem):
            is_mask = stem.endswith(_MASK_ENDING)
            found, name = (self.masks, stem.removesuffix(_MASK_ENDING)) if is_mask else (self.pictures, stem)
            if name in found:
                self.twice.append(path.name)
            else:
                found[name] = path


def open_data_set(
    folder: Path, *, masks: Path | None = None, diagnoses: Path | None = None, name: str | None = None
) -> DataSet:
    """List a data set of any layout named above; nothing is decoded yet.

    A photograph belongs to it if a table names it or it has a mask. What is odd (pictures or masks that are
    missing, pictures that nothing is known of, ...) is in `DataSet.problems`.

    Parameters
    ----------
    masks
        Another folder with masks.
    diagnoses
        A further table, e.g. Task 1's diagnoses.
    name
        Source of the photographs; otherwise ``ham10000``, ``isic2018_task1`` or ``isic2018_task3`` where that
        is recognised, else the folder's name.

    Raises
    ------
    DataError
        If there is no such folder or nothing in it, or a table cannot be read, holds an unknown class or
        fold, or says two things of one photograph.
    """
    files = _list_files(folder)
    if masks is not None:
        other = _list_files(masks)
        files.masks |= other.masks
        files.twice += other.twice
    if not files.pictures:
        raise DataError(
            f"{folder}: there is no JPEG, PNG or TIFF photograph in this folder. Name the folder of a data "
            "set in the layout of HAM10000 or ISIC 2018."
        )
    facts = read_tables(files.tables + ([diagnoses] if diagnoses is not None else []))
    known = [stem for stem in sorted(files.pictures) if stem in facts or stem in files.masks]
    if not known:
        raise DataError(
            f"{folder}: nothing is known of its {len(files.pictures)} photographs. Expected a table that "
            "names them (e.g. labels.csv or HAM10000_metadata.csv), or masks called "
            "PHOTOGRAPH_segmentation.png."
        )
    source = name or _recognise(folder, facts)
    return DataSet(
        source,
        tuple(_labelled(stem, source, files, facts.get(stem, Facts())) for stem in known),
        tuple(_problems(files, facts, known)),
    )


def _list_files(folder: Path) -> _Files:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "missing"
        raise DataError(
            f"{folder}: the folder of the data set is {found}. Unpack the data set, and name its folder."
        )
    files = _Files()

    def refuse(error: OSError) -> None:
        raise DataError(
            f"{error.filename}: the folder cannot be read ({error.strerror}). Check its permissions."
        ) from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(inner for inner in folders if not inner.startswith((".", "__")))
        for name in sorted(names):
            if not name.startswith("."):
                files.add(Path(place, name))
    return files


def _recognise(folder: Path, facts: dict[str, Facts]) -> str:
    lesion = next((known.lesion_id for known in facts.values() if known.lesion_id), "")
    if lesion.startswith("HAM_"):
        return "ham10000"
    names = [folder.resolve().name, *(inner.name for inner in sorted(folder.iterdir()))]
    compact = " ".join(re.sub(r"[^a-z0-9]", "", name.casefold()) for name in names)
    for recognised in ("ham10000", "isic2018_task1", "isic2018_task3"):
        if recognised.replace("_", "") in compact:
            return recognised
    return folder.resolve().name


def _labelled(stem: str, source: str, files: _Files, facts: Facts) -> LabelledPhotograph:
    return LabelledPhotograph(
        image_id=stem,
        source=source,
        picture=PictureFile(files.pictures[stem]),
        mask=MaskFile(files.masks[stem]) if stem in files.masks else None,
        **asdict(facts),
    )


def _problems(files: _Files, facts: dict[str, Facts], known: list[str]) -> list[str]:
    """Write a sentence for each kind of what is odd."""
    kinds = {
        "Named in a table, but there is no such picture; left out": sorted(
            facts.keys() - files.pictures.keys()
        ),
        "Pictures without a line in a table and without a mask; left out": sorted(
            files.pictures.keys() - set(known)
        ),
        "Photographs without a mask, which teach no outline": [
            stem for stem in known if files.masks and stem not in files.masks
        ],
        "Masks of no picture, not used": sorted(files.masks.keys() - files.pictures.keys()),
        "Files of the same name as another one in the folder; only the first is used": files.twice,
    }
    sentences = [counted(what, names) for what, names in kinds.items() if names]
    if not any(found.lesion_id or found.patient_id for found in facts.values()):
        sentences.append(
            "Neither lesions nor patients are known, so several photographs of one lesion may be fitted and "
            "reported. Add a table with lesion_id (for ISIC 2018 Task 3: the LesionGroupings)."
        )
    return sentences
