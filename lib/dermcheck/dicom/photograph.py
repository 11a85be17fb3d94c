"""Reads one DICOM photograph, from a file, from bytes or from a dataset."""

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset as read_elements
from pydicom.filereader import read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dermcheck.dicom.files import describe_content, file_name, open_file
from dermcheck.dicom.header import PhotographHeader, read_header
from dermcheck.dicom.limits import MAX_FILE_BYTES, check_file_size
from dermcheck.dicom.pictures import read_picture
from dermcheck.dicom.pixels import RGBImage, read_rgb
from dermcheck.errors import UnreadableImageError

__all__ = ["Photograph", "read_dataset", "read_photograph", "read_picture"]

_PREFIX_AT: Final = 128
_GROUPS_AT_START: Final = (b"\x02\x00", b"\x08\x00", b"\x00\x08")  # file meta, identification, big endian


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """One decoded photograph."""

    header: PhotographHeader
    pixels: RGBImage
    """(rows, columns, 3) uint8 RGB; fewer rows and columns than the header says if read at reduced scale."""
    dataset: Dataset
    """The whole instance as it was read, encoded pixel data included."""


def read_dataset(
    source: Path | bytes, *, stop_before_pixels: bool = False, name: str = "the received file"
) -> Dataset:
    """Read one DICOM file (PS3.10), of any SOP class.

    Tolerates a missing preamble and missing file meta information; the transfer syntax is then
    what the first bytes tell. Attributes are not checked here: `read_header` does.

    Parameters
    ----------
    source
        A file, or the content of one.
    stop_before_pixels
        Whether to leave out the pixel data and what follows, for a quick look at many files.
    name
        What messages call the content of a file.

    Raises
    ------
    NotFoundError, StorageError
        If the file is not there, or the system does not let us read it.
    UnreadableImageError
        If it is empty, too large, not DICOM, damaged, or inflates beyond `limits.MAX_FILE_BYTES`.
    """
    if isinstance(source, bytes):
        check_file_size(len(source), name)
        return _parse(io.BytesIO(source), name, stop_before_pixels)
    with open_file(source) as stream:
        return _parse(stream, file_name(source), stop_before_pixels)


def read_photograph(
    source: Path | bytes | Dataset, frame: int | None = None, *, short_side: int | None = None
) -> Photograph:
    """Read and decode one photograph.

    Parameters
    ----------
    source
        A DICOM file, the content of one, or a dataset with pixel data and file meta information.
    frame
        Which frame, from 1, where there are several (see `read_rgb`).
    short_side
        Pixels that are needed along the shorter side, None for all (see `read_rgb`).

    Raises
    ------
    DermCheckError
        As `read_dataset`, `read_header` and `read_rgb` do.
    """
    dataset = source if isinstance(source, Dataset) else read_dataset(source)
    return Photograph(read_header(dataset), read_rgb(dataset, frame, short_side=short_side), dataset)


def _parse(stream: BinaryIO, name: str, stop_before_pixels: bool) -> Dataset:
    start = stream.read(_PREFIX_AT + 4)
    if start[_PREFIX_AT:] != b"DICM" and start[:2] not in _GROUPS_AT_START:
        raise UnreadableImageError(
            f"{name}: this is not a DICOM file, it {describe_content(start)}. Name a DICOM file, or make "
            "one of a JPEG, PNG or TIFF photo by `dermcheck import`."
        )
    stream.seek(0)
    try:
        _check_inflated_size(stream, name)
        stream.seek(0)
        dataset = dcmread(stream, stop_before_pixels=stop_before_pixels, force=True)
        _add_transfer_syntax(dataset)
    except UnreadableImageError:
        raise
    except Exception as error:  # damaged files make pydicom raise whatever they like
        raise UnreadableImageError(
            f"{name}: the file cannot be read as DICOM, it is damaged or cut off. Copy or export it again."
        ) from error
    if not dataset:
        raise UnreadableImageError(
            f"{name}: the file holds no DICOM attributes, it is cut off. Copy or export it again."
        )
    return dataset


def _check_inflated_size(stream: BinaryIO, name: str) -> None:
    """Inflate a deflated file piece by piece, keeping nothing, before pydicom does it in one go."""
    read_preamble(stream, force=True)
    meta = read_elements(stream, is_implicit_VR=False, is_little_endian=True, stop_when=_is_after_meta)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size, piece = 0, stream.read(1 << 20)
    while piece and not inflater.eof:
        size += len(inflater.decompress(piece, 1 << 24))
        if size > MAX_FILE_BYTES:
            check_file_size(size, f"{name}, inflated")
        piece = inflater.unconsumed_tail or stream.read(1 << 20)


def _is_after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2


def _add_transfer_syntax(dataset: Dataset) -> None:
    """Write down what pydicom found out where the file does not say it."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    is_implicit, is_little = dataset.original_encoding
    if is_implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    else:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
