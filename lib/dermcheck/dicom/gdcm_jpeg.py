"""Decodes lossless and 12-bit JPEG by GDCM, the only permissively licensed decoder that can.

In a process of its own: on some damaged streams GDCM 3.2 throws a C++ exception that its Python
package does not catch, which ends the whole process. A server must survive such a file.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from dermcheck.dicom.codestream import Codestream

__all__ = ["decode_by_gdcm"]

_WORKER: Final = Path(__file__).with_name("gdcm_worker.py")
_LONGEST_SECONDS: Final = 300.0  # 24 megapixels take about 3 s


def decode_by_gdcm(data: bytes, stream: Codestream, transfer_syntax: UID, photometric: str) -> NDArray[Any]:
    """Decode a JPEG stream of 2 to 16 bits a sample.

    Parameters
    ----------
    data
        The whole stream. Its size must have been checked against the limits by the caller.
    stream
        Its frame header by `codestream.parse_jpeg`.
    transfer_syntax
        JPEG Extended, Lossless or Lossless SV1.
    photometric
        PhotometricInterpretation; the colours are returned as stored.

    Returns
    -------
    numpy.ndarray
        (rows, columns) or (rows, columns, 3), uint8 or uint16, read-only.

    Raises
    ------
    ValueError
        If GDCM cannot decode the stream, or takes too long.
    """
    description = {
        "rows": stream.rows,
        "columns": stream.columns,
        "samples": stream.components,
        "precision": stream.precision,
        "photometric": photometric,
        "transfer_syntax": str(transfer_syntax),
    }
    # Isolated (-I): neither the current folder nor PYTHONPATH can put another gdcm in its way.
    command = [sys.executable, "-I", str(_WORKER), json.dumps(description)]
    try:
        answer = subprocess.run(  # noqa: S603  # our own interpreter and file, no shell
            command, input=data, capture_output=True, timeout=_LONGEST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"GDCM did not finish within {_LONGEST_SECONDS:.0f} s") from error
    dtype = np.dtype(np.uint8 if stream.precision <= 8 else "<u2")
    shape = (stream.rows, stream.columns, *([stream.components] if stream.components > 1 else []))
    if answer.returncode != 0 or len(answer.stdout) != int(np.prod(shape)) * dtype.itemsize:
        raise ValueError(f"GDCM cannot decode it: {_last_line(answer.stderr)}")
    return np.frombuffer(answer.stdout, dtype).reshape(shape)


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:200] if lines else "the stream is damaged"
