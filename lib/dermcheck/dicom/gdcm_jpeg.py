"""Decodes 12-bit JPEG by GDCM, which pydicom's own GDCM plug-in leaves out."""

import gdcm  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from dermcheck.dicom.codestream import Codestream

__all__ = ["decode_by_gdcm"]


def decode_by_gdcm(data: bytes, stream: Codestream, transfer_syntax: UID) -> NDArray[np.uint16]:
    """Decode a greyscale JPEG Extended stream of 9 to 12 bits a sample.

    Raises
    ------
    ValueError
        If GDCM cannot decode it, or it has several components: their colour space after 12-bit
        decoding is nowhere defined, and no camera writes them.
    """
    if stream.components != 1:
        raise ValueError(f"colour JPEG of {stream.precision} bits a sample is not supported")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())

    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stream.columns, stream.rows, 1))
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(transfer_syntax))))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, stream.precision, stream.precision - 1, 0))
    image.SetDataElement(element)
    buffer = image.GetBuffer()
    if buffer is None:
        raise ValueError("GDCM cannot decode the stream")
    # GDCM returns a char* as text.
    samples = np.frombuffer(buffer.encode("utf-8", "surrogateescape"), "<u2")
    return samples.reshape(stream.rows, stream.columns)
