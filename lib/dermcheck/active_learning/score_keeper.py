"""Keeps the scores of all photographs up to date while the server works for clinicians."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from dermcheck.active_learning.score_cache import FollowedLesion, LabelClass, ScoreCache, ScoreRow
from dermcheck.active_learning.score_table import ScoreTable
from dermcheck.active_learning.scoring import PhotographScores
from dermcheck.active_learning.scoring_process import followed_lesion
from dermcheck.active_learning.scoring_worker import (
    Scorer,
    ScoringPlaces,
    ScoringProcess,
    ScoringStoppedError,
)
from dermcheck.errors import DermCheckError

if TYPE_CHECKING:
    from dermcheck.datastore import StudyStore

__all__ = ["ModelInUse", "ScoreKeeper"]

logger = logging.getLogger(__name__)

_FILE: Final = "scores-1.sqlite"
"""Another number where its tables change."""
_DELAY_S: Final = 30.0
"""The first half minute belongs to whoever has just opened the viewer."""
_PAUSE_S: Final = 5.0
"""Between two looks for new photographs, labels and models."""
_IDLE_SHARE: Final = 20
"""The pause is at least this many times what a look takes."""
_GIVE_WAY_S: Final = 0.1
_BATCH: Final = 4
"""Photographs: what is under way when a clinician asks is done in a second."""
_LABEL_BATCH: Final = 64
_PROCESS_KEPT_S: Final = 60.0
"""Without work, before its memory is given back."""
_TRY_AGAIN_S: Final = 60.0
_LABELLED_FIRST: Final = 500
"""So many labelled photographs are scored before others: strategies look for what differs from them."""
_SEED: Final = 0

State = Literal["loading", "waiting", "scoring", "complete", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class ModelInUse:
    """The models that answer clinicians."""

    key: str
    """See `model_key`."""
    words: str
    """For people."""


class ScoreKeeper:
    """Scores what has no scores yet, in a thread that gives its work to a process of the lowest priority.

    What is known is on the disk (`ScoreCache`) after each batch, so a server that is stopped or killed goes
    on where it was. After a change of models, the scores of those before are used until the new ones have
    scored half as many photographs.

    Parameters
    ----------
    store
        The photographs.
    places
        Where the process finds models and photographs.
    model
        Tells which models answer now; None while they are being loaded.
    is_busy
        Tells whether a clinician waits for a prediction: no further batch is begun then.
    delay_s
        Before the first batch, unless `start` is called.
    pause_s
        Between two looks for what is new.
    start_scorer
        Starts what scores.
    """

    def __init__(
        self,
        store: StudyStore,
        places: ScoringPlaces,
        model: Callable[[], ModelInUse | None],
        is_busy: Callable[[], bool],
        *,
        delay_s: float = _DELAY_S,
        pause_s: float = _PAUSE_S,
        start_scorer: Callable[[ScoringPlaces], Scorer] = ScoringProcess,
    ) -> None:
        self._start_scorer = start_scorer
        self._store = store
        self._places = places
        self._model = model
        self._is_busy = is_busy
        self._pause_s = pause_s
        self._due = time.monotonic() + delay_s
        self._cache = ScoreCache(store.cache / _FILE)
        self._failures: dict[str, tuple[str, str]] = {}  # image -> revision, problem
        self._later: dict[str, float] = {}  # image or label -> when to try again, monotonic
        self._table: ScoreTable | None = None
        self._before: ScoreTable | None = None
        self._in_use: ModelInUse | None = None
        self._label_of: dict[str, str] = {}  # image -> label whose class is known
        self._known_labels: dict[str, int] = {}  # label -> class
        self._process: Scorer | None = None
        self._idle_since = time.monotonic()
        self._problem: str | None = None
        self._state: State = "loading"
        self._counts = (0, 0)
        self._stopped = False
        self._prepare: list[Callable[[], None]] = []
        self._closing = threading.Event()
        self._wake = threading.Event()
        self.classes: dict[str, int] = {}
        """Diagnosis of the newest label of each labelled photograph (-1: an outline alone); grows."""
        self.lesions: dict[str, FollowedLesion] = {}
        """Which lesion each photograph shows, as far as it has been read; grows."""
        self._thread = threading.Thread(target=self._run, name="scores", daemon=True)

    def begin(self, *, automatic: bool = True) -> None:
        """Begin to read what is stored, and to score after the delay; not `automatic`: only after `start`."""
        self._stopped = not automatic
        self._thread.start()

    def close(self) -> None:
        """End the thread and its process; what was scored is kept."""
        self._closing.set()
        self._wake.set()
        if (process := self._process) is not None:
            process.kill()
        if self._thread.is_alive():
            self._thread.join()

    # ---- what is known ----

    def table(self) -> ScoreTable | None:
        """Return the scores to choose by, all of one model; None while there are none."""
        table, before = self._table, self._before
        if before is not None and (table is None or 2 * len(table) < len(before)):
            return before
        return table if table is not None and len(table) else None

    def is_current(self, table: ScoreTable) -> bool:
        """Tell whether scores are those of the models in use."""
        return table is self._table

    def progress(self) -> dict[str, Any]:
        """Say for `/info/` how far the scoring is."""
        scored, total = self._counts
        oldest = self._table.oldest() if self._table is not None else None
        return {
            "state": self._state,
            "model": self._in_use.words if self._in_use else None,
            "scored": scored,
            "of": total,
            "failed": len(self._failures),
            "oldest": datetime.fromtimestamp(oldest).astimezone().isoformat("T", "seconds")
            if oldest
            else None,
            "problem": self._problem,
        }

    def lesion(self, image: str) -> FollowedLesion | None:
        """Return which lesion a photograph shows, from its header where that is at hand."""
        if (known := self.lesions.get(image)) is not None:
            return known
        found = self._store.catalogue.find(image)
        return followed_lesion(found.header) if found is not None and found.header else None

    @property
    def is_running(self) -> bool:
        """Whether its thread looks for what is new."""
        return self._thread.is_alive()

    def when_changed(self, prepare: Callable[[], None]) -> None:
        """Have something done in the thread after each look, e.g. what choices need beforehand."""
        self._prepare.append(prepare)

    # ---- orders ----

    def start(self) -> None:
        """Score now what has no scores, also after `stop`, and what could not be scored once more."""
        self._stopped = False
        self._due = 0.0
        self._failures, self._later = {}, {}
        self._problem = None
        self._wake.set()

    def stop(self) -> None:
        """Stop scoring until `start`, or until other models are in use."""
        self._stopped = True
        if (process := self._process) is not None:
            process.kill()
        self._wake.set()

    def look(self) -> None:
        """Look soon for what is new, e.g. a label."""
        self._wake.set()

    # ---- the thread ----

    def _run(self) -> None:
        import dermcheck.active_learning.strategies  # noqa: F401  # takes a second, which nobody should wait

        self.lesions.update(self._cache.lesions())
        self._known_labels = {each.label: each.lesion_class for each in self._cache.labels()}
        while not self._closing.is_set():
            started = time.monotonic()
            try:
                self._step()
                for prepare in self._prepare:
                    prepare()
            except DermCheckError as error:
                self._fail(str(error))
            except Exception:  # scores are a help: the server goes on without
                logger.exception("Scoring failed")
                self._fail("Scoring failed, see the log.")
            pause_s = max(self._pause_s, _IDLE_SHARE * (time.monotonic() - started))
            self._wake.wait(_TRY_AGAIN_S if self._problem else min(pause_s, _TRY_AGAIN_S))
            self._wake.clear()
        self._end_process()

    def _fail(self, problem: str) -> None:
        self._end_process()
        if self._closing.is_set() or self._stopped:
            return
        if problem != self._problem:
            logger.warning("Photographs are not scored: %s", problem)
        self._problem, self._state = problem, "failed"

    def _step(self) -> None:
        """Look once for what is new, and do all there is to do."""
        model = self._model()
        if model is None:
            return
        if self._in_use is None or model.key != self._in_use.key:
            self._exchange(model)
        photographs, labels = self._missing_photographs(), self._missing_labels()
        if not photographs and not labels:
            self._state, self._problem = "stopped" if self._stopped else "complete", None
            if time.monotonic() - self._idle_since > _PROCESS_KEPT_S:
                self._end_process()
            return
        if self._stopped or time.monotonic() < self._due:
            self._state = "stopped" if self._stopped else "waiting"
            return
        self._work(labels, photographs)
        self._idle_since = time.monotonic()

    def _exchange(self, model: ModelInUse) -> None:
        """Begin with other models: with what is known of them, and of those before."""
        self._end_process()
        kept = self._cache.models()
        if self._in_use is not None:
            self._stopped = False
        self._cache.use(model.key, model.words, time.time())
        table = ScoreTable(model.key)
        table.put(self._cache.rows(model.key))
        before = self._table
        earlier = next((key for key in kept if key != model.key), None)
        if before is None and earlier is not None and 2 * len(table) < self._cache.count(earlier):
            before = ScoreTable(earlier)
            before.put(self._cache.rows(earlier))
        self._failures = self._cache.failures(model.key)
        self._before, self._table, self._in_use = before, table, model

    def _missing_photographs(self) -> list[str]:
        """Return what has no scores: some labelled ones, then the others mixed.

        Mixed, so that those scored so far are at any time a fair sample of all.
        """
        left_out, now = self._store.multi_frame_ids(), time.monotonic()
        images = [image for image in self._store.image_ids() if image not in left_out]
        missing, scored = [], 0
        for image in images:
            if self._is_failed(image):
                continue
            if self._is_scored(image):
                scored += 1
            elif self._later.get(image, 0.0) < now:
                missing.append(image)
        self._counts = (scored, len(images))
        random.Random(_SEED).shuffle(missing)  # noqa: S311  # not for secrets
        finished = self._store.finished_ids()
        first = list(islice((image for image in missing if image in finished), _LABELLED_FIRST))
        soon = set(first)
        return first + sorted((image for image in missing if image not in soon), key=finished.__contains__)

    def _is_scored(self, image: str) -> bool:
        assert self._table is not None  # noqa: S101  # for mypy
        scored = self._table.revision(image)
        return scored is not None and scored == self._revision(image)

    def _is_failed(self, image: str) -> bool:
        failure = self._failures.get(image)
        return failure is not None and failure[0] == self._revision(image)

    def _revision(self, image: str) -> str | None:
        found = self._store.catalogue.find(image)
        return found.revision if found is not None else None

    def _missing_labels(self) -> list[LabelClass]:
        """Take over the classes that are known, and return the labels whose class is not."""
        missing, classes, now = [], {}, time.monotonic()
        for image in self._store.finished_ids():
            label = self._store.latest_final(image)
            if label is None or self._label_of.get(image) == label.sop_instance_uid:
                continue
            known = self._known_labels.get(label.sop_instance_uid)
            if known is not None:
                classes[image], self._label_of[image] = known, label.sop_instance_uid
            elif self._later.get(label.sop_instance_uid, 0.0) < now:
                missing.append(LabelClass(label.sop_instance_uid, image, -1))
        if classes:
            self.classes = self.classes | classes  # whoever reads the old one goes on with it
        return missing

    def _work(self, labels: Sequence[LabelClass], photographs: Sequence[str]) -> None:
        self._state = "scoring"
        for first in range(0, len(labels), _LABEL_BATCH):
            if not self._may_go_on():
                return
            self._read_labels(labels[first : first + _LABEL_BATCH])
        for first in range(0, len(photographs), _BATCH):
            if not self._may_go_on():
                return
            self._score(photographs[first : first + _BATCH])
        self._wake.set()  # look again at once: much may have changed meanwhile

    def _may_go_on(self) -> bool:
        """Wait while a clinician does; return False if something else is to be done first."""
        while self._is_busy() and not self._closing.is_set():
            self._closing.wait(_GIVE_WAY_S)
        if self._closing.is_set() or self._stopped:
            return False
        model = self._model()
        if model is None or self._in_use is None or model.key != self._in_use.key:
            self._wake.set()
            return False
        return True

    def _running_process(self) -> Scorer:
        if self._process is None:
            self._process = self._start_scorer(self._places)
            self._process.connect()
            logger.info("Scoring begins, at low priority")
        assert self._in_use is not None  # noqa: S101  # for mypy
        if self._process.model != self._in_use.key:
            raise ScoringStoppedError("The scoring process found other models than those that answer.")
        self._problem = None
        return self._process

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def _read_labels(self, labels: Sequence[LabelClass]) -> None:
        jobs = [job for label in labels if (job := self._job("label", label.label))]
        images = {label.label: label.image for label in labels}
        found = []
        for answer in self._running_process().answer(jobs):
            label = answer["instance"]
            if answer.get("problem") and not answer["lasting"]:
                self._later[label] = time.monotonic() + _TRY_AGAIN_S
                continue
            found.append(LabelClass(label, images[label], answer.get("lesion_class", -1)))
        self._cache.put_labels(found)
        self._known_labels |= {each.label: each.lesion_class for each in found}
        self._missing_labels()

    def _score(self, images: Sequence[str]) -> None:
        jobs = [job for image in images if (job := self._job("photograph", image))]
        revisions = {job["instance"]: job["revision"] for job in jobs}
        process = self._running_process()
        try:
            answers = process.answer(jobs) if jobs else []
        except ScoringStoppedError:
            self._end_process()
            if self._closing.is_set() or self._stopped:
                return
            answers = [answer for job in jobs for answer in self._one_by_one(job)]
        self._keep(answers, revisions)

    def _one_by_one(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Find out which photograph of a batch makes the process end."""
        process = self._running_process()
        try:
            return process.answer([job])
        except ScoringStoppedError:
            self._end_process()
            if self._closing.is_set() or self._stopped:
                return []
            problem = f"instance {job['instance']}: reading it made the scoring process end."
            return [{"instance": job["instance"], "problem": problem, "lasting": True}]

    def _keep(self, answers: Sequence[dict[str, Any]], revisions: Mapping[str, str]) -> None:
        assert self._table is not None  # noqa: S101  # for mypy
        rows, lesions = [], {}
        for answer in answers:
            image = answer["instance"]
            if "problem" in answer:
                self._note_failure(self._table.model, image, revisions[image], answer)
                continue
            lesions[image] = _lesion(answer["lesion"])
            rows.append(ScoreRow(image, revisions[image], time.time(), _scores(answer["scores"])))
        self._cache.put(self._table.model, rows)
        self._cache.put_lesions(lesions)
        self._table.put(rows)
        if self._before is not None and 2 * len(self._table) >= len(self._before):
            self._before = None  # it is asked for no more, and tens of thousands of embeddings take room
        self.lesions.update(lesions)
        scored, total = self._counts
        self._counts = (min(total, scored + len(rows)), total)
        problems = [answer["problem"] for answer in answers if not answer.get("lasting", True)]
        if answers and len(problems) == len(answers):  # the archive or disk cannot be reached: not now
            raise ScoringStoppedError(problems[0])

    def _note_failure(self, model: str, image: str, revision: str, answer: dict[str, Any]) -> None:
        if answer["lasting"]:
            logger.info("A photograph cannot be scored: %s", answer["problem"])
            self._failures[image] = (revision, answer["problem"])
            self._cache.put_failure(model, image, revision, answer["problem"])
        else:
            self._later[image] = time.monotonic() + _TRY_AGAIN_S

    def _job(self, kind: str, uid: str) -> dict[str, Any] | None:
        """Say where an instance is; None if it is gone."""
        found = self._store.catalogue.find(uid)
        if found is None:
            return None
        path = self._store.archive.path(found.key)
        return {
            "kind": kind,
            "instance": uid,
            "path": str(path) if path else None,
            "study": found.study_instance_uid,
            "series": found.series_instance_uid,
            "revision": found.revision,
        }


def _scores(values: dict[str, Any]) -> PhotographScores:
    arrays = {
        "probabilities": np.array(values["probabilities"], np.float64),
        "embedding": np.array(values["embedding"], np.float32),
    }
    return PhotographScores(**{**values, **arrays})


def _lesion(values: dict[str, Any]) -> FollowedLesion:
    acquired = values["acquired"]
    return FollowedLesion(**{**values, "acquired": datetime.fromisoformat(acquired) if acquired else None})
