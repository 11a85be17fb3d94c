"""Scores on the disk: one SQLite file beside the index of the studies, never in them.

Everything in it can be made again from the photographs and the models, so a damaged file is replaced by an
empty one. Rows are kept by photograph *and* model: what two versions of the models say is never mixed.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dermcheck.active_learning.scoring import PhotographScores
from dermcheck.datastore.sqlite_cache import connected, discard_damaged
from dermcheck.lesions import CLASSES

__all__ = ["FollowedLesion", "LabelClass", "ScoreCache", "ScoreRow"]

_logger = logging.getLogger(__name__)

_MODELS_KEPT: Final = 2
"""The newest models' scores are kept: going back to the version before needs no scoring anew."""
_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS scores (
        image TEXT, model TEXT, revision TEXT, scored_at REAL, numbers BLOB, embedding BLOB,
        PRIMARY KEY (image, model))""",
    """CREATE TABLE IF NOT EXISTS failures (
        image TEXT, model TEXT, revision TEXT, problem TEXT, PRIMARY KEY (image, model))""",
    """CREATE TABLE IF NOT EXISTS photographs (
        image TEXT PRIMARY KEY, patient TEXT, tracking TEXT, name TEXT, site TEXT, laterality TEXT,
        acquired TEXT)""",
    "CREATE TABLE IF NOT EXISTS labels (label TEXT PRIMARY KEY, image TEXT, class INTEGER)",
    "CREATE TABLE IF NOT EXISTS models (model TEXT PRIMARY KEY, words TEXT, used_at REAL)",
)


@dataclass(frozen=True, slots=True)
class FollowedLesion:
    """Which lesion a photograph shows, as far as its header says; needed for photographs of an archive."""

    patient: str
    """Pseudonym, see `PhotographHeader.patient_key`."""
    tracking: str | None
    """UID, else name, of the lesion that is followed."""
    name: str | None
    site: str | None
    laterality: str | None
    acquired: datetime | None


@dataclass(frozen=True, slots=True, eq=False)
class ScoreRow:
    """Scores of one photograph as stored."""

    image: str
    revision: str
    """Of the photograph's file: another one makes the scores old."""
    scored_at: float
    """Unix time."""
    scores: PhotographScores


@dataclass(frozen=True, slots=True)
class LabelClass:
    """The diagnosis that a stored label gives."""

    label: str
    image: str
    lesion_class: int
    """Index of the class; -1 for an outline without a diagnosis."""


class ScoreCache:
    """The file. Every method may be called from any thread; several processes may use one file.

    Parameters
    ----------
    path
        Made if absent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    # ---- scores ----

    def rows(self, model: str) -> list[ScoreRow]:
        """Return all scores by one model; rows that make no sense are left out (and made anew)."""
        query = "SELECT image, revision, scored_at, numbers, embedding FROM scores WHERE model = ?"
        rows = [_row(*values) for values in self._select(query, model)]
        return [row for row in rows if row is not None]

    def count(self, model: str) -> int:
        """Return of how many photographs there are scores by one model."""
        return sum(number for (number,) in self._select("SELECT COUNT(*) FROM scores WHERE model = ?", model))

    def put(self, model: str, rows: Sequence[ScoreRow]) -> None:
        """Keep scores by one model, all or none of them."""
        with self._writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?, ?)",
                [(row.image, model, row.revision, row.scored_at, *_blobs(row.scores)) for row in rows],
            )
            connection.executemany(
                "DELETE FROM failures WHERE image = ? AND model = ?", [(row.image, model) for row in rows]
            )

    # ---- photographs that cannot be scored ----

    def failures(self, model: str) -> dict[str, tuple[str, str]]:
        """Return revision and problem of each photograph that one model could not score."""
        query = "SELECT image, revision, problem FROM failures WHERE model = ?"
        return {image: (revision, problem) for image, revision, problem in self._select(query, model)}

    def put_failure(self, model: str, image: str, revision: str, problem: str) -> None:
        """Note that a photograph cannot be scored as it is."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", (image, model, revision, problem)
            )

    # ---- what photographs show, and what labels say ----

    def lesions(self) -> dict[str, FollowedLesion]:
        """Return which lesion each photograph shows."""
        rows = self._select("SELECT * FROM photographs")
        return {
            image: FollowedLesion(patient, tracking, name, site, laterality, _moment(acquired))
            for image, patient, tracking, name, site, laterality, acquired in rows
        }

    def put_lesions(self, lesions: dict[str, FollowedLesion]) -> None:
        """Keep which lesions photographs show."""
        with self._writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO photographs VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        image,
                        found.patient,
                        found.tracking,
                        found.name,
                        found.site,
                        found.laterality,
                        found.acquired.isoformat() if found.acquired else None,
                    )
                    for image, found in lesions.items()
                ],
            )

    def labels(self) -> list[LabelClass]:
        """Return the diagnoses of all labels that were looked at."""
        return [LabelClass(*values) for values in self._select("SELECT label, image, class FROM labels")]

    def put_labels(self, labels: Sequence[LabelClass]) -> None:
        """Keep diagnoses of labels."""
        with self._writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO labels VALUES (?, ?, ?)",
                [(each.label, each.image, each.lesion_class) for each in labels],
            )

    # ---- models ----

    def use(self, model: str, words: str, now: float) -> None:
        """Note that a model is in use, and forget the scores of all but the latest ones."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?)", (model, words, now))
            known = connection.execute("SELECT model FROM models ORDER BY used_at DESC").fetchall()
            for (old,) in known[_MODELS_KEPT:]:
                for table in ("scores", "failures", "models"):
                    connection.execute(f"DELETE FROM {table} WHERE model = ?", (old,))  # noqa: S608

    def models(self) -> dict[str, str]:
        """Return the models whose scores are kept, the one used last first: key -> name in words."""
        return dict(self._select("SELECT model, words FROM models ORDER BY used_at DESC"))

    # ---- the file ----

    def _select(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with self._connection() as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            discard_damaged(self._path, error)
            return []

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction; what a damaged or unwritable file does not take is made again later."""
        try:
            with self._connection() as connection:
                yield connection
        except sqlite3.Error as error:
            discard_damaged(self._path, error)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with connected(self._path) as connection:
            for table in _TABLES:
                connection.execute(table)
            yield connection


def _blobs(scores: PhotographScores) -> tuple[bytes, bytes]:
    numbers = [
        *scores.probabilities,
        scores.entropy,
        scores.margin,
        scores.class_disagreement,
        scores.outline_disagreement,
        scores.not_a_lesion,
        scores.confidence,
        scores.decision,
    ]
    return np.array(numbers, "<f8").tobytes(), scores.embedding.astype("<f4").tobytes()


def _row(image: str, revision: str, scored_at: float, numbers: bytes, embedding: bytes) -> ScoreRow | None:
    """Read a row; None if it holds what no scoring writes."""
    try:
        values: npt.NDArray[np.float64] = np.frombuffer(numbers, "<f8")
        vector = np.frombuffer(embedding, "<f4").astype(np.float32)
    except (TypeError, ValueError):
        return None
    if len(values) != len(CLASSES) + 7 or not vector.size or not np.isfinite(values).all():
        return None
    if not np.isfinite(vector).all() or not 0 <= values[-1] < len(CLASSES):
        return None
    rest = [float(value) for value in values[len(CLASSES) : -1]]
    entropy, margin, class_disagreement, outline_disagreement, not_a_lesion, confidence = rest
    return ScoreRow(
        str(image),
        str(revision),
        float(scored_at),
        PhotographScores(
            probabilities=values[: len(CLASSES)],
            entropy=entropy,
            margin=margin,
            class_disagreement=class_disagreement,
            outline_disagreement=outline_disagreement,
            not_a_lesion=not_a_lesion,
            decision=int(values[-1]),
            confidence=confidence,
            embedding=vector,
        ),
    )


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
