"""Which photograph to label next, by whatever is known of them at this moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dermcheck.errors import NotFoundError

if TYPE_CHECKING:
    import numpy as np
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    from dermcheck.active_learning.follow_up import Revisit
    from dermcheck.active_learning.score_keeper import ScoreKeeper
    from dermcheck.active_learning.score_table import ScoreTable
    from dermcheck.active_learning.strategies import Choice
    from dermcheck.datastore import StudyStore

# The modules that choose are imported when they are used: scikit-learn takes a second, and a server starts.

__all__ = ["DESCRIPTIONS", "Question", "Recommender", "nothing_left"]

DESCRIPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "hybrid": "What teaches the models most: unsure, unlike what is labelled, of a rare diagnosis",
        "uncertain": "What the models are least sure of",
        "diverse": "What is unlike everything labelled so far",
        "random": "A random photograph that nobody has labelled yet",
        "follow_up": "A lesion that was photographed before, the most changed first",
        "second_reading": "A label that the models contradict, shown without the first answer",
    }
)
"""What each strategy chooses, for people; the one to use first first."""
_FOLLOW_UP: Final = "follow_up"
_SECOND_READING: Final = "second_reading"
_FULL: Final = 0.99
"""Share of photographs with scores from which on their number is not worth being mentioned."""


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody wants to label next."""

    strategy: str
    unlabelled: Sequence[str]
    """Photographs that nobody has labelled and that can be shown."""
    left_out: Collection[str] = frozenset()
    """Photographs that are in other hands, or not wanted now."""
    reader: str = ""
    """Who asks: a second reading had better be by somebody else than the first."""


class Recommender:
    """Answers the question. Any thread may ask.

    Parameters
    ----------
    store
        Photographs and labels.
    scores
        What is known of them.
    """

    def __init__(self, store: StudyStore, scores: ScoreKeeper) -> None:
        self._store = store
        self._scores = scores
        self._revisits: tuple[object, list[Revisit]] | None = None  # what they follow from, and they
        scores.when_changed(self.prepare)

    def choose(self, question: Question, rng: np.random.Generator) -> Choice | None:
        """Choose a photograph; None if the strategy finds none.

        Raises
        ------
        NotFoundError
            If there is no such strategy.
        """
        if question.strategy == _SECOND_READING:
            return self._second_reading(question)
        if question.strategy not in DESCRIPTIONS:
            raise NotFoundError(
                f"There is no strategy {question.strategy!r}; the strategies are {', '.join(DESCRIPTIONS)}."
            )
        left_out = question.left_out
        free = [image for image in question.unlabelled if image not in left_out] if left_out else None
        images = question.unlabelled if free is None else free
        if not images:
            return None
        if question.strategy == _FOLLOW_UP:
            return self._follow_up(images)
        return self._by_scores(question.strategy, images, rng)

    def _by_scores(self, strategy: str, images: Sequence[str], rng: np.random.Generator) -> Choice:
        from dermcheck.active_learning.strategies import Choice, choose

        if strategy == "random":
            image = images[int(rng.integers(len(images)))]
            return Choice(image, _sentence(["drawn at random among the photographs without a label"]))
        table = self._scores.table()
        pool = table.pool(images) if table is not None else None
        if table is None or pool is None or not len(pool):
            image = images[int(rng.integers(len(images)))]
            return Choice(image, _sentence([f"drawn at random: {self._why_no_scores()}"]))
        labelled = table.labelled(self._scores.classes)
        with _one_thread().limit(limits=1):  # several would wait for each other beside a prediction
            chosen = choose(strategy, pool, labelled, 1, rng)[0]
        parts = [chosen.reason, *self._basis(table, len(pool), len(images))]
        return Choice(chosen.image_id, _sentence(parts))

    def _why_no_scores(self) -> str:
        progress = self._scores.progress()
        if progress["state"] in ("failed", "stopped"):
            return f"the photographs are not being scored ({progress['problem'] or 'scoring is stopped'})"
        return f"no scores yet ({progress['scored']:,} of {progress['of']:,} photographs are scored)"

    def _basis(self, table: ScoreTable, scored: int, candidates: int) -> list[str]:
        """Say what the choice is based on, where that is less than it could be."""
        parts = []
        if scored < _FULL * candidates:
            parts.append(f"chosen among the {scored:,} of {candidates:,} photographs scored so far")
        if not self._scores.is_current(table):
            parts.append("by the scores of the models used before, until those in use have scored enough")
        return parts

    def _follow_up(self, images: Sequence[str]) -> Choice | None:
        from dermcheck.active_learning import follow_up
        from dermcheck.active_learning.score_table import ScoreTable

        table = self._scores.table() or ScoreTable("")
        free = set(images)
        revisit = next((each for each in self._known_revisits() if each.image in free), None)
        if revisit is None:
            return None
        return follow_up.describe(revisit, table.compared([revisit.image], [revisit.before]))

    def prepare(self) -> None:
        """Find the revisits and their order, if photographs or what is known of them have changed.

        Among 100,000 photographs that takes a second: the keeper of the scores does it beforehand.
        """
        from dermcheck.active_learning import follow_up
        from dermcheck.active_learning.score_table import ScoreTable

        table = self._scores.table() or ScoreTable("")
        images = self._store.image_ids()
        state = (len(images), len(self._scores.lesions), table.model, table.puts)
        if self._revisits is not None and state == self._revisits[0]:
            return
        found = follow_up.find_revisits(images, self._scores.lesion)
        compared = table.compared([each.image for each in found], [each.before for each in found])
        order = follow_up.order(found, follow_up.changes(compared))
        self._revisits = state, [found[number] for number in order]

    def _known_revisits(self) -> list[Revisit]:
        """Return all revisits in order."""
        if self._revisits is None or not self._scores.is_running:
            self.prepare()
        assert self._revisits is not None  # noqa: S101  # for mypy
        return self._revisits[1]

    def _second_reading(self, question: Question) -> Choice | None:
        import numpy as np

        from dermcheck.active_learning.second_reading import contradicted, describe

        table = self._scores.table()
        classes = self._scores.classes
        if table is None or not classes:
            return None
        images = list(classes)
        decided, confidence = table.decided(images)
        given = np.fromiter(classes.values(), np.int64, len(classes))
        suspicious = [
            image
            for number in contradicted(given, decided, confidence)
            if (image := images[number]) not in question.left_out and self._has_one_reading(image)
        ]
        if not suspicious:
            return None
        others = (image for image in suspicious if self._reader(image) != question.reader)
        return describe(next(others, suspicious[0]), len(suspicious))

    def _has_one_reading(self, image: str) -> bool:
        return sum(not label.automatic for label in self._store.labels(image)) == 1

    def _reader(self, image: str) -> str | None:
        label = self._store.latest_final(image)
        return label.creator if label is not None else None


@cache
def _one_thread() -> ThreadpoolController:
    """Return what limits the threads of NumPy's and scikit-learn's libraries, which are all loaded by now."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def nothing_left(
    strategy: str, photographs: int, unlabelled: int, *, in_other_hands: int = 0, unscored: int = 0
) -> str:
    """Say why there is no photograph to label, and what can be done.

    Parameters
    ----------
    photographs
        How many the studies hold.
    unlabelled
        How many of them have no label.
    in_other_hands
        How many of these somebody else works on at this moment.
    unscored
        How many have no scores yet.
    """
    if not photographs:
        return "The studies hold no photograph. Import some (dermcheck import) or open another folder."
    if strategy == _SECOND_READING and unscored:
        return f"No label waits for a second reading so far; {unscored} photographs have no scores yet."
    if strategy == _SECOND_READING:
        return "No label waits for a second reading."
    if not unlabelled:
        return f"All {photographs} photographs have a label: nothing is left to do."
    if in_other_hands == unlabelled:
        return (
            "All photographs without a label are being worked on by others. Try again in some minutes: "
            "what they leave comes back."
        )
    others = f" {in_other_hands} others are being worked on." if in_other_hands else ""
    if strategy == _FOLLOW_UP:
        return f"No photograph without a label shows a lesion that was photographed before.{others}"
    return f"{unlabelled - in_other_hands} photographs without a label were left out in this session.{others}"
