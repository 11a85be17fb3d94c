"""Decodes one JPEG stream by GDCM, as a program of its own (see `gdcm_jpeg`).

Reads the stream from standard input and its description, a JSON object, from the first argument;
writes the samples to standard output, colour by pixel, 16-bit ones little endian. Imports nothing of
DermCheck, so that it starts quickly.
"""

import json
import sys
from typing import Any

__all__: list[str] = []


def _decode(data: bytes, description: dict[str, Any]) -> bytes:
    import gdcm  # type: ignore[import-untyped]

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())

    precision = description["precision"]
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((description["columns"], description["rows"], 1))
    photometric = gdcm.PhotometricInterpretation.GetPIType(description["photometric"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(photometric))
    if description["samples"] > 1:
        image.SetPlanarConfiguration(0)
    syntax = gdcm.TransferSyntax.GetTSType(description["transfer_syntax"])
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    allocated = 8 if precision <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(description["samples"], allocated, precision, precision - 1, 0))
    image.SetDataElement(element)
    buffer = image.GetBuffer()
    if buffer is None:
        raise ValueError("the stream is damaged")
    samples: bytes = buffer.encode("utf-8", "surrogateescape")  # GDCM returns a char* as text
    return samples


if __name__ == "__main__":
    sys.stdout.buffer.write(_decode(sys.stdin.buffer.read(), json.loads(sys.argv[1])))
