"""What happens next with the trainings, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dermcheck.label_app.automatic_training import TaskPlan
    from dermcheck.lesions import Language

__all__ = ["say_plan"]

_TEXTS: Final[Mapping[Language, dict[str, str]]] = {
    "en": {
        "lesion_classification": "Diagnoses",
        "lesion_segmentation": "Outlines",
        "counts": "{corrections} corrected photographs, {new} not learnt from yet.",
        "off": "Trainings do not start by themselves on this server.",
        "too_few": "No training yet: {missing} more corrected photographs are needed.",
        "nothing_new": "There is nothing new to learn.",
        "missing": "The next training starts after {missing} more corrections.",
        "at": "The next training starts at {at}.",
        "either": "The next training starts after {missing} more corrections, at the latest at {at}.",
        "due": "A training starts now.",
        "waits": "A training is due and waits for the one that runs.",
        "failed": "The training of {when} failed: {answer}",
        "stopped": "The training of {when} was stopped by a person.",
    },
    "de": {
        "lesion_classification": "Diagnosen",
        "lesion_segmentation": "Umrisse",
        "counts": "{corrections} korrigierte Fotos, aus {new} wurde noch nicht gelernt.",
        "off": "Auf diesem Server beginnt kein Training von selbst.",
        "too_few": "Noch kein Training: {missing} weitere korrigierte Fotos sind nötig.",
        "nothing_new": "Es gibt nichts Neues zu lernen.",
        "missing": "Das nächste Training beginnt nach {missing} weiteren Korrekturen.",
        "at": "Das nächste Training beginnt um {at}.",
        "either": "Das nächste Training beginnt nach {missing} weiteren Korrekturen, spätestens um {at}.",
        "due": "Ein Training beginnt jetzt.",
        "waits": "Ein Training steht an und wartet auf das laufende.",
        "failed": "Das Training vom {when} ist gescheitert: {answer}",
        "stopped": "Das Training vom {when} wurde von jemandem angehalten.",
    },
}
_OF_ONE: Final[Mapping[Language, dict[str, str]]] = {
    "en": {
        "counts": "1 corrected photograph, {new} not learnt from yet.",
        "too_few": "No training yet: 1 more corrected photograph is needed.",
        "missing": "The next training starts after 1 more correction.",
        "either": "The next training starts after 1 more correction, at the latest at {at}.",
    },
    "de": {
        "counts": "1 korrigiertes Foto, aus {new} wurde noch nicht gelernt.",
        "too_few": "Noch kein Training: 1 weiteres korrigiertes Foto ist nötig.",
        "missing": "Das nächste Training beginnt nach 1 weiteren Korrektur.",
        "either": "Das nächste Training beginnt nach 1 weiteren Korrektur, spätestens um {at}.",
    },
}
"""The same sentences about a single photograph or correction."""


def say_plan(plan: TaskPlan, language: Language = "en") -> tuple[str, str]:
    """Say which model a plan is about, and in sentences what there is to learn and when.

    They may hold words of a training, so they are text and no HTML.
    """
    say, standing = _TEXTS[language], plan.standing
    counts = (say | _OF_ONE[language] if standing.corrections == 1 else say)["counts"]
    sentences = [counts.format(corrections=standing.corrections, new=standing.new)]
    sentences.append(_next(plan, say | _OF_ONE[language] if plan.plan.missing == 1 else say))
    attempt = standing.attempt
    if attempt is not None and attempt.end in ("failed", "stopped"):
        sentences.append(
            say[attempt.end].format(when=f"{attempt.at:%Y-%m-%d %H:%M}", answer=attempt.answer or "–")
        )
    return say[plan.trainer], " ".join(sentences)


def _next(plan: TaskPlan, say: Mapping[str, str]) -> str:
    why, missing, at = plan.plan.why, plan.plan.missing, plan.plan.at
    moment = f"{at:%H:%M}" if at else ""
    if why == "due":
        return say["waits" if plan.running else "due"]
    if why == "collecting":
        key = "either" if missing is not None and at else "at" if at else "missing"
        return say[key].format(missing=missing, at=moment)
    return say[why].format(missing=missing)
