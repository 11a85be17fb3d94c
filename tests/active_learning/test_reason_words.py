import string

from dermcheck.active_learning.reason_words import _TEXTS, Words


def parts(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_every_text_is_there_in_both_languages_with_the_same_parts():
    assert {key: parts(text) for key, text in _TEXTS["de"].items()} == {
        key: parts(text) for key, text in _TEXTS["en"].items()
    }


def test_numbers_are_written_as_the_language_writes_them():
    numbers = {"scored": 1234, "of": 100_000}
    assert "1,234 of 100,000" in Words("en").say("partly", **numbers)
    assert "1.234 von 100.000" in Words("de").say("partly", **numbers)
    assert (Words("en").percent(0.485), Words("de").percent(0.07)) == ("48%", "7 %")


def test_parts_of_a_sentence_make_one():
    assert Words().sentence(["the model is unsure", "unlike the others"]) == (
        "The model is unsure; unlike the others."
    )
