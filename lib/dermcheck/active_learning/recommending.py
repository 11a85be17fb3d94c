"""Which photograph to label next, by whatever is known of them at this moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dermcheck.active_learning.reason_words import Words
from dermcheck.errors import NotFoundError

if TYPE_CHECKING:
    import numpy as np
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    from dermcheck.active_learning.follow_up import Revisit
    from dermcheck.active_learning.score_keeper import ScoreKeeper
    from dermcheck.active_learning.score_table import ScoreTable
    from dermcheck.active_learning.strategies import Choice
    from dermcheck.datastore import StudyStore
    from dermcheck.lesions import Language

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
    language: Language = "en"
    """Of the reason."""


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
        words = Words(question.language)
        if question.strategy == _FOLLOW_UP:
            return self._follow_up(images, words)
        return self._by_scores(question.strategy, images, rng, words)

    def _by_scores(
        self, strategy: str, images: Sequence[str], rng: np.random.Generator, words: Words
    ) -> Choice:
        from dermcheck.active_learning.strategies import Choice, choose

        if strategy == "random":
            image = images[int(rng.integers(len(images)))]
            return Choice(image, words.sentence([words.say("random")]))
        table = self._scores.table()
        pool = table.pool(images) if table is not None else None
        if table is None or pool is None or not len(pool):
            image = images[int(rng.integers(len(images)))]
            return Choice(image, words.sentence([self._why_no_scores(words)]))
        labelled = table.labelled(self._scores.classes)
        with _one_thread().limit(limits=1):  # several would wait for each other beside a prediction
            chosen = choose(strategy, pool, labelled, 1, rng, words.language)[0]
        parts = [chosen.reason, *self._basis(table, len(pool), len(images), words)]
        return Choice(chosen.image_id, words.sentence(parts))

    def _why_no_scores(self, words: Words) -> str:
        progress = self._scores.progress()
        if progress["state"] in ("failed", "stopped"):
            return words.say("not_scoring", problem=progress["problem"] or words.say("stopped"))
        return words.say("unscored", scored=progress["scored"], of=progress["of"])

    def _basis(self, table: ScoreTable, scored: int, candidates: int, words: Words) -> list[str]:
        """Say what the choice is based on, where that is less than it could be."""
        parts = []
        if scored < _FULL * candidates:
            parts.append(words.say("partly", scored=scored, of=candidates))
        if not self._scores.is_current(table):
            parts.append(words.say("older"))
        return parts

    def _follow_up(self, images: Sequence[str], words: Words) -> Choice | None:
        from dermcheck.active_learning import follow_up
        from dermcheck.active_learning.score_table import ScoreTable

        table = self._scores.table() or ScoreTable("")
        free = set(images)
        revisit = next((each for each in self._known_revisits() if each.image in free), None)
        if revisit is None:
            return None
        return follow_up.describe(revisit, table.compared([revisit.image], [revisit.before]), words)

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
        return describe(next(others, suspicious[0]), len(suspicious), Words(question.language))

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


def nothing_left(
    strategy: str,
    photographs: int,
    unlabelled: int,
    *,
    in_other_hands: int = 0,
    unscored: int = 0,
    language: Language = "en",
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
    language
        In which to say it.
    """
    say = Words(language).say
    if not photographs:
        return say("no_photographs")
    if strategy == _SECOND_READING:
        return say("no_rereading_yet", unscored=unscored) if unscored else say("no_rereading")
    if not unlabelled:
        return say("all_done", photographs=photographs)
    if in_other_hands == unlabelled:
        return say("all_taken")
    others = say("others", taken=in_other_hands) if in_other_hands else ""
    if strategy == _FOLLOW_UP:
        return say("no_follow_up") + others
    return say("left_out", left=unlabelled - in_other_hands) + others
