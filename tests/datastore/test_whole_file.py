import io
from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.pixels import compress
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from dermcheck.datastore.whole_file import check_whole
from dermcheck.dicom.photograph import read_dataset
from dermcheck.errors import UnreadableImageError

SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "RLE": RLELossless,
    "JPEG 2000": JPEG2000Lossless,
}


def check(path: Path) -> None:
    """Check with and without what the header tells."""
    for known in (read_dataset(path, stop_before_pixels=True), Dataset()):
        check_whole(path, known)


def encoded(dataset: Dataset, syntax: str) -> bytes:
    if syntax.is_compressed and syntax != DeflatedExplicitVRLittleEndian:
        compress(dataset, syntax)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].VR = "OW" if syntax == ImplicitVRLittleEndian else "OB"
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


@pytest.mark.parametrize(
    "syntax", [*SYNTAXES.values(), DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name
)
def test_a_whole_file_is_accepted(tmp_path, make_photograph, syntax):
    (tmp_path / "a.dcm").write_bytes(encoded(make_photograph(size=(32, 32)), syntax))
    check(tmp_path / "a.dcm")


def test_attributes_behind_the_pixels_are_allowed(tmp_path, make_photograph):
    make_photograph(tmp_path / "a.dcm", DataSetTrailingPadding=bytes(50))
    check(tmp_path / "a.dcm")


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
def test_a_file_cut_off_anywhere_in_its_pixels_is_refused(tmp_path, make_photograph, syntax):
    content = encoded(make_photograph(size=(32, 32)), syntax)
    start = content.index(b"\x7f\xe0\x00\x10" if syntax == ExplicitVRBigEndian else b"\xe0\x7f\x10\x00")
    path = tmp_path / "cut.dcm"
    path.write_bytes(content)
    header = read_dataset(path, stop_before_pixels=True)
    for length in (*range(start, start + 40), *range(start + 40, len(content), 97), len(content) - 1):
        path.write_bytes(content[:length])
        for known in (header, Dataset()):
            with pytest.raises(UnreadableImageError, match=r"cut.dcm: the file ends inside its pixel data"):
                check_whole(path, known)


def test_a_photograph_without_pixels_is_refused(tmp_path, make_photograph):
    dataset = make_photograph()
    del dataset.PixelData
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableImageError, match="copy or export it again"):
        check(tmp_path / "a.dcm")
