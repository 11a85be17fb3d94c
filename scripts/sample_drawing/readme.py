"""The page that describes the sample studies, made from the files themselves."""

from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import UID

from sample_drawing.sample import SamplePhotograph
from sample_drawing.studies import SAMPLE_PHOTOGRAPHS

__all__ = ["readme_text"]

_INTRODUCTION = """\
# Sample studies

Photographs of skin that nobody has: every pixel is computed by `scripts/draw_sample_studies.py`, every
name, date and number is made up, and each patient's name contains SYNTHETIC. No picture, and no piece of
one, comes from a data set. They show lesions as textbooks describe them, plainer than nature: good for a
demonstration and for tests, worthless for training or for judging a model. The model notices: for about
half of them it says that the picture does not look like a lesion photograph, which is right of drawings.

`python3 scripts/start.py` serves this folder. It holds {photographs} photographs of {patients} patients
({megabytes:.1f} MB), all without labels. One photograph is one series; the photographs of one visit share
their study. Lesion 1 of SYN-001 is seen at three visits with the same Tracking UID, and grows.

"""
_COLUMNS = (
    "File",
    "Patient",
    "SOP class",
    "Transfer syntax",
    "Photometric",
    "Columns × rows",
    "kB",
    "What it proves",
)
_NOTES = """\

## Drawing them again

    python scripts/draw_sample_studies.py                  # writes this folder, this page included
    python scripts/draw_sample_studies.py --masks MASKS    # and the true outlines as PNG, 0 and 255

The same versions give the same bytes. Random numbers have fixed seeds, UIDs are derived from names, dates
are fixed, and the drawing is computed in double precision, so that processors agree to the grey level. What
still depends on versions is how encoders compress: Pillow (JPEG, palette, ICC profile), OpenJPEG (JPEG 2000),
CharLS (JPEG-LS), GDCM (lossless JPEG), zlib (deflated) and OpenJPH (HTJ2K; its program `ojph_compress`, in
Debian's `openjph-tools`, must be installed to draw file 07 again). The tests therefore compare the committed
files by header and by decoded pixels, and compare bytes only between two drawings on one machine.

## What dciodvfy says

No error in any file. Its version of 2022 cannot open two transfer syntaxes, deflated (08) and HTJ2K (07): of
these the same data set was checked as explicit VR little endian and under JPEG 2000. Warnings:

| warning | files | why |
|---|---|---|
| Unrecognized defined term DMS for Modality | Dermoscopic Photography | the term is newer than its table |
| Laterality is only permitted to be empty when actually unknown | SYN-005 | it is unknown |
| Missing attribute needed to build DICOMDIR: Study Time | SYN-005 | empty on purpose (type 2) |
"""


def readme_text(folder: Path) -> str:
    """Describe the samples in `folder`, a row for each file.

    Raises
    ------
    FileNotFoundError
        If one of the sample photographs is not there.
    """
    headers = [dcmread(folder / sample.path, stop_before_pixels=True) for sample in SAMPLE_PHOTOGRAPHS]
    sizes = [(folder / sample.path).stat().st_size for sample in SAMPLE_PHOTOGRAPHS]
    introduction = _INTRODUCTION.format(
        photographs=len(headers),
        patients=len({header.PatientID for header in headers}),
        megabytes=sum(sizes) / 1e6,
    )
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_row, SAMPLE_PHOTOGRAPHS, headers, sizes)]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return introduction + table + _NOTES


def _row(sample: SamplePhotograph, header: Dataset, size: int) -> tuple[str, ...]:
    frames = f", {header.NumberOfFrames} frames" if "NumberOfFrames" in header else ""
    planes = " (by plane)" if header.get("PlanarConfiguration") == 1 else ""
    return (
        f"`{sample.path}`",
        header.PatientID,
        _short_name(header.SOPClassUID),
        _short_name(header.file_meta.TransferSyntaxUID),
        header.PhotometricInterpretation + planes,
        f"{header.Columns} × {header.Rows}{frames}",
        f"{size / 1000:.0f}",
        sample.proves,
    )


def _short_name(uid: UID) -> str:
    """Shorten a UID's name in the DICOM dictionary, without the words that all of them share."""
    name = uid.name.split(" (Process")[0].split(", Non-Hierarchical")[0]
    for word in (" Image Storage", " Storage", " Image Compression"):
        name = name.replace(word, "")
    return name
