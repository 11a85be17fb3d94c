"""Photographs that an earlier batch has answered: the same bytes, the same models, the same program.

What is kept of each is its answer (probabilities, decision, cautions, where the lesion lies) and its mask as
PNG; nothing that names a file, a photograph or a patient. From these come the same results, to the byte, as
the networks' answer gave. The key is a digest of all that an answer depends on: the file's content, both
models' cards (with the hash of their weights), the clinic's shares of classes, this program's own code, and
the versions of the libraries that decode and compute.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import dermcheck
from dermcheck.batch.masks_png import mask_of_png
from dermcheck.batch.outcomes import Prediction
from dermcheck.dicom.author import Algorithm
from dermcheck.inference.answer_store import AnswerStore
from dermcheck.inference.report import LesionReport
from dermcheck.inference.rules import Caution
from dermcheck.lesions import lesion_class

__all__ = ["Known", "KnownAnswers"]

_FOLDER: Final = "answers"
"""Of the cache folder."""
_LIBRARIES: Final = (
    "highdicom",
    "numpy",
    "onnxruntime",
    "openvino",
    "pillow",
    "pydicom",
    "pylibjpeg-openjpeg",
    "scipy",
    "torch",
)
_ROOMS: Final = ("batch", "dicom", "inference", "networks")
"""Whose code decides about an answer."""
_IDENTIFIERS: Final = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a photograph."""

    prediction: Prediction
    """Without the names and identifiers of the photograph, which the file itself tells."""
    mask: bytes
    """PNG."""
    told: Mapping[str, Any]
    """The report's own values."""

    def report(self) -> LesionReport:
        """Give the whole report."""
        told, caution = self.told, dict(self.told["caution"])
        if caution["possible_classes"] is not None:
            caution["possible_classes"] = tuple(map(lesion_class, caution["possible_classes"]))
        return LesionReport(
            mask=mask_of_png(self.mask),
            probabilities=self.prediction.probabilities,
            decision=lesion_class(told["decision"]),
            uncertainty=told["uncertainty"],
            classifier=Algorithm(**told["classifier"]),
            outliner=Algorithm(**told["outliner"]),
            caution=Caution(**caution),
        )


class KnownAnswers:
    """The answers that were given before under the same conditions. Any thread may use it.

    Parameters
    ----------
    root
        The cache folder.
    conditions
        All on which answers depend besides the file, this program and its libraries.
    reads
        Whether what is known is used; if not, it is only added to.
    """

    def __init__(self, root: Path, conditions: Iterable[str], *, reads: bool = True) -> None:
        self._store = AnswerStore(root / _FOLDER)
        parts = (*conditions, *_surroundings())
        self._conditions = hashlib.sha256(json.dumps(parts).encode()).digest()
        self._reads = reads

    def __enter__(self) -> KnownAnswers:
        """Return this."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was added."""
        self._store.close()

    def get(self, digest: bytes, suffix: str) -> Known | None:
        """Return what is known of a file.

        Parameters
        ----------
        digest
            SHA-256 of its content.
        suffix
            The ending of its name, which may decide about how it is read.
        """
        if not self._reads:
            return None
        kept = self._store.get(self._key(digest, suffix))
        return None if kept is None else _decoded(kept)

    def put(
        self, digest: bytes, suffix: str, report: LesionReport, prediction: Prediction, mask: bytes
    ) -> None:
        """Keep an answer.

        Parameters
        ----------
        digest, suffix
            As for `get`.
        prediction
            What the tables say of it.
        mask
            The report's mask as PNG.
        """
        self._store.put(self._key(digest, suffix), _encoded(report, prediction, mask))

    def _key(self, digest: bytes, suffix: str) -> bytes:
        return hashlib.sha256(self._conditions + digest + suffix.casefold().encode(errors="replace")).digest()


def _encoded(report: LesionReport, prediction: Prediction, mask: bytes) -> bytes:
    caution = report.caution
    possible = caution.possible_classes
    names = None if possible is None else [lesion.name for lesion in possible]
    told = {
        "decision": report.decision.name,
        "uncertainty": report.uncertainty,
        "classifier": asdict(report.classifier),
        "outliner": asdict(report.outliner),
        "caution": {**vars(caution), "possible_classes": names},
    }
    details = {name: value for name, value in prediction.details.items() if name not in _IDENTIFIERS}
    table = {
        "probabilities": dict(prediction.probabilities),
        "remarks": dict(prediction.remarks),
        "details": details,
        "model": prediction.model,
    }
    # JSON keeps a float to its last bit.
    text = json.dumps({"told": told, "table": table}, separators=(",", ":")).encode()
    return len(text).to_bytes(_LENGTH_BYTES, "big") + text + mask


def _decoded(kept: bytes) -> Known:
    length = int.from_bytes(kept[:_LENGTH_BYTES], "big")
    text = json.loads(kept[_LENGTH_BYTES : _LENGTH_BYTES + length])
    return Known(Prediction("", **text["table"]), kept[_LENGTH_BYTES + length :], text["told"])


def _surroundings() -> tuple[str, ...]:
    """Say all of this program and this computer that may change an answer's last digits."""
    import torch

    from dermcheck.inference.backends.choosing import BACKEND_VARIABLE

    graphics = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return (
        _own_code(),
        *(f"{name} {_version(name)}" for name in _LIBRARIES),
        platform.python_version(),
        platform.machine(),
        f"graphics {graphics}",
        f"back end {os.environ.get(BACKEND_VARIABLE, '')}",
    )


@cache
def _own_code() -> str:
    """Digest this program's code, so that no change of it meets answers of an earlier one."""
    found = hashlib.sha256(version("dermcheck").encode())
    package = Path(str(dermcheck.__file__)).parent
    files = [
        package / "lesions.py",
        *(path for room in _ROOMS for path in sorted((package / room).rglob("*.py"))),
    ]
    for path in files:
        found.update(path.read_bytes())
    return found.hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
