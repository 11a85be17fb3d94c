"""Why a photograph was chosen, or none: the words, in English and German."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from dermcheck.lesions import LESION_CLASSES, Language

__all__ = ["Words"]

_ENGLISH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "random": "drawn at random among the photographs without a label",
        "unscored": "drawn at random: no scores yet ({scored} of {of} photographs are scored)",
        "not_scoring": "drawn at random: the photographs are not being scored ({problem})",
        "stopped": "scoring is stopped",
        "partly": "chosen among the {scored} of {of} photographs scored so far",
        "older": "by the scores of the models used before, until those in use have scored enough",
        "any": "as much to be learnt from as from any other",
        "rare_0": "may be {name} ({share}), of which none is labelled",
        "rare_1": "may be {name} ({share}), of which only 1 is labelled",
        "rare": "may be {name} ({share}), of which only {labels} are labelled",
        "between": "the model is unsure between {first} ({first_share}) and {second} ({second_share})",
        "outline": "the model is unsure of the outline",
        "first": "one of the first, chosen to differ from each other",
        "unlike_1": "unlike the one already labelled",
        "unlike": "unlike the {labels} already labelled",
        "same": "the lesion that was photographed on {day}",
        "same_named": "the lesion ({lesion}) that was photographed on {day}",
        "perhaps": "perhaps the lesion that was photographed on {day}: same patient, same site ({site})",
        "R": "{site}, right",
        "L": "{site}, left",
        "unknown_change": "how much it changed is not computed yet",
        "little_change": "the model sees little change",
        "change": "for the model {name} has gone from {then} to {now}",
        "reread": "Second reading: please read this photograph afresh, without knowing the first answer.",
        "reread_many": "Second reading: please read this photograph afresh, without knowing the first "
        "answer. {labels} labels wait for it.",
        "no_photographs": "The studies hold no photograph. Import some (dermcheck import) or open another "
        "folder.",
        "no_rereading_yet": "No label waits for a second reading so far; {unscored} photographs have no "
        "scores yet.",
        "no_rereading": "No label waits for a second reading.",
        "all_done": "All {photographs} photographs have a label: nothing is left to do.",
        "all_taken": "All photographs without a label are being worked on by others. Try again in some "
        "minutes: what they leave comes back.",
        "no_follow_up": "No photograph without a label shows a lesion that was photographed before.",
        "left_out": "{left} photographs without a label were left out in this session.",
        "others": " {taken} others are being worked on.",
    }
)
_GERMAN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "random": "zufällig gezogen aus den Fotos ohne Beurteilung",
        "unscored": "zufällig gezogen: noch keine Bewertung durch die Modelle ({scored} von {of} Fotos sind "
        "bewertet)",
        "not_scoring": "zufällig gezogen: die Fotos werden nicht bewertet ({problem})",
        "stopped": "die Bewertung ist angehalten",
        "partly": "ausgewählt aus den {scored} von {of} Fotos, die bisher bewertet sind",
        "older": "nach der Bewertung durch die vorigen Modelle, bis die jetzigen genug bewertet haben",
        "any": "daraus ist so viel zu lernen wie aus jedem anderen",
        "rare_0": "vielleicht {name} ({share}), wovon noch keines beurteilt ist",
        "rare_1": "vielleicht {name} ({share}), wovon erst 1 beurteilt ist",
        "rare": "vielleicht {name} ({share}), wovon erst {labels} beurteilt sind",
        "between": "das Modell schwankt: {first} ({first_share}) oder {second} ({second_share})",
        "outline": "das Modell ist beim Umriss unsicher",
        "first": "eines der ersten, die sich voneinander unterscheiden sollen",
        "unlike_1": "anders als das eine schon beurteilte",
        "unlike": "anders als die {labels} schon beurteilten",
        "same": "die Läsion, die am {day} fotografiert wurde",
        "same_named": "die Läsion ({lesion}), die am {day} fotografiert wurde",
        "perhaps": "vielleicht die Läsion, die am {day} fotografiert wurde: gleicher Patient, gleiche Stelle "
        "({site})",
        "R": "{site}, rechts",
        "L": "{site}, links",
        "unknown_change": "wie sehr sie sich verändert hat, ist noch nicht berechnet",
        "little_change": "das Modell sieht wenig Veränderung",
        "change": "für das Modell ging {name} von {then} auf {now}",
        "reread": "Zweite Beurteilung: bitte neu urteilen, ohne die erste Antwort zu kennen.",
        "reread_many": "Zweite Beurteilung: bitte neu urteilen, ohne die erste Antwort zu kennen. {labels} "
        "Beurteilungen warten darauf.",
        "no_photographs": "Die Studien enthalten kein Foto. Welche importieren (dermcheck import) oder einen "
        "anderen Ordner öffnen.",
        "no_rereading_yet": "Bisher wartet nichts auf eine zweite Beurteilung; {unscored} Fotos sind noch "
        "nicht bewertet.",
        "no_rereading": "Nichts wartet auf eine zweite Beurteilung.",
        "all_done": "Alle {photographs} Fotos sind beurteilt: nichts ist mehr zu tun.",
        "all_taken": "An allen Fotos ohne Beurteilung arbeiten gerade andere. In einigen Minuten noch einmal "
        "versuchen: was sie liegen lassen, kommt wieder.",
        "no_follow_up": "Kein Foto ohne Beurteilung zeigt eine Läsion, die früher schon fotografiert wurde.",
        "left_out": "{left} Fotos ohne Beurteilung wurden in dieser Sitzung ausgelassen.",
        "others": " An {taken} anderen wird gerade gearbeitet.",
    }
)
_TEXTS: Final[Mapping[Language, Mapping[str, str]]] = MappingProxyType({"en": _ENGLISH, "de": _GERMAN})


class Words:
    """Says things in one language.

    >>> Words("de").say("rare_1", name=Words("de").lesion(3), share=Words("de").percent(0.5))
    'vielleicht Dermatofibrom (50 %), wovon erst 1 beurteilt ist'
    """

    def __init__(self, language: Language = "en") -> None:
        self.language = language

    def say(self, key: str, **parts: object) -> str:
        """Return a text; whole numbers among its parts are grouped by thousands."""
        said = {name: self._number(part) if isinstance(part, int) else part for name, part in parts.items()}
        return _TEXTS[self.language][key].format(**said)

    def _number(self, number: int) -> str:
        return f"{number:,}" if self.language == "en" else f"{number:,}".replace(",", ".")

    def percent(self, share: float) -> str:
        """Return a share of 1 as a percentage without decimals."""
        return f"{share:.0%}" if self.language == "en" else f"{share:.0%}".replace("%", " %")

    def lesion(self, index: int) -> str:
        """Return the short name of a class, as it is written within a sentence."""
        return LESION_CLASSES[index].within_sentence(self.language)

    def sentence(self, parts: Sequence[str]) -> str:
        """Make one sentence of several parts."""
        text = "; ".join(parts)
        return f"{text[0].upper()}{text[1:]}."
