import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermcheck.errors import ModelError
from dermcheck.lesions import CLASSES
from dermcheck.networks import Calibration, InputSpec, ModelCard
from dermcheck.networks.cards import AnswerRules, PhotographCheck, UsedFolds

HALF = (0.5, 0.5, 0.5)
SQUARE = InputSpec(side=32, mean=HALF, std=HALF, geometry="centre_square")
WHOLE = InputSpec(side=32, mean=HALF, std=HALF, geometry="short_side")
EQUAL = Calibration.identity().natural_prior


def priors() -> st.SearchStrategy[tuple[float, ...]]:
    shares = st.lists(st.floats(0.01, 1), min_size=7, max_size=7)
    return shares.map(lambda values: tuple(value / sum(values) for value in values))


@given(
    temperature=st.floats(0.1, 10),
    training=priors(),
    natural=priors(),
    side=st.integers(1, 1024),
    dendrites=st.integers(0, 9),
    figures=st.dictionaries(
        st.text(max_size=5), st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.booleans()))
    ),
)
def test_a_card_survives_json_unchanged(temperature, training, natural, side, dendrites, figures):
    card = ModelCard(
        name="Klassifikator für Haut",
        version="2.1",
        task="classification",
        architecture="densenet121",
        dendrites=dendrites,
        classes=CLASSES,
        input=InputSpec(side=side, mean=(0.1, 0.2, 0.3), std=(1, 2.5, 3), geometry="centre_square"),
        calibration=Calibration(temperature=temperature, training_prior=training, natural_prior=natural),
        data="HAM10000",
        licence="CC BY-NC 4.0",
        figures=figures,
        command="dermcheck train",
        sha256="0" * 64,
    )
    assert ModelCard.from_json(card.to_json()) == card


def test_an_outliner_has_no_calibration_in_its_json(outliner_card):
    card = outliner_card()
    assert json.loads(card.to_json())["calibration"] is None
    assert ModelCard.from_json(card.to_json()) == card


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"classes": CLASSES[::-1]},
            "classes is .* expected akiec, bcc, bkl, df, mel, nv, vasc in this order",
        ),
        ({"classes": list(CLASSES)}, "classes is"),
        ({"task": "detection"}, "task is 'detection', expected classification or segmentation"),
        ({"calibration": None}, "calibration is None, expected one"),
        ({"dendrites": -1}, "dendrites is -1, expected a number, 0 or more"),
        ({"dendrites": True}, "dendrites is True"),
        ({"name": "x" * 65}, "name is .* expected 1 to 64 printable characters"),
        ({"name": "a\\b"}, "without a backslash"),
        ({"version": ""}, "version is ''"),
        ({"version": 1.0}, "version is 1.0"),
        ({"licence": " "}, "licence is ' ', expected text"),
        ({"data": None}, "data is None, expected text"),
        ({"sha256": "abc"}, "sha256 is 'abc', expected 64 hexadecimal digits"),
        ({"figures": [1]}, r"figures is \[1\], expected a JSON object"),
        ({"created": None}, "created is None"),
        ({"input": None}, "input is None"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(classifier_card, changes, sentence):
    with pytest.raises(ModelError, match=sentence):
        classifier_card(**changes)


def test_an_outliner_must_see_the_whole_photograph(outliner_card):
    with pytest.raises(ModelError, match=r"input\.geometry is .* expected short_side"):
        outliner_card(input=SQUARE)


def test_an_outliner_with_a_calibration_is_refused(outliner_card):
    with pytest.raises(ModelError, match="expected none, as the task is segmentation"):
        outliner_card(calibration=Calibration.identity())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"side": 0}, r"input\.side is 0"),
        ({"side": 12.5}, r"input\.side is 12\.5"),
        ({"mean": (0.5,)}, r"input\.mean is \(0\.5,\), expected three numbers"),
        ({"mean": (0.5, 0.5, float("nan"))}, r"input\.mean is"),
        ({"std": (0.5, 0, 0.5)}, r"input\.std is .* expected three numbers above 0"),
        ({"geometry": "squashed"}, r"input\.geometry is 'squashed', expected centre_square or short_side"),
        ({"multiple": 0}, r"input\.multiple is 0"),
        ({"max_aspect": 0.9}, r"input\.max_aspect is 0\.9"),
    ],
)
def test_an_impossible_input_is_refused(changes, sentence):
    with pytest.raises(ModelError, match=sentence):
        dataclasses.replace(WHOLE, **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"temperature": 0}, r"calibration\.temperature is 0, expected a number above 0"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"training_prior": (0.5, 0.5)}, "training_prior is .* expected seven shares above 0 that sum to 1"),
        ({"natural_prior": (1.0, 0, 0, 0, 0, 0, 0)}, "natural_prior is"),
        ({"natural_prior": (0.5,) * 7}, "natural_prior is"),
    ],
)
def test_an_impossible_calibration_is_refused(changes, sentence):
    with pytest.raises(ModelError, match=sentence):
        dataclasses.replace(Calibration.identity(), **changes)


def test_an_unknown_field_is_refused_with_the_nearest_known_one(classifier_card):
    values = json.loads(classifier_card().to_json())
    values["license"] = values.pop("licence")
    with pytest.raises(ModelError, match="unknown field 'license'; did you mean 'licence'"):
        ModelCard.from_json(json.dumps(values))


def test_an_unknown_field_of_the_input_is_refused(classifier_card):
    values = json.loads(classifier_card().to_json())
    values["input"]["interpolation"] = "cubic"
    with pytest.raises(ModelError, match="input has the unknown field 'interpolation'"):
        ModelCard.from_json(json.dumps(values))


def test_a_missing_field_is_named(classifier_card):
    values = json.loads(classifier_card().to_json())
    del values["architecture"], values["data"]
    with pytest.raises(ModelError, match="the card lacks architecture, data"):
        ModelCard.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": NaN}'])
def test_text_that_is_no_card_is_refused_in_a_sentence(text):
    with pytest.raises(ModelError, match="Model card: "):
        ModelCard.from_json(text)


def test_figures_that_json_cannot_say_are_refused(classifier_card):
    with pytest.raises(ModelError, match="figures cannot be written as JSON"):
        classifier_card(figures={"auc": float("nan")}).to_json()


RULES = AnswerRules(
    sure_from=0.4,
    sure_share=0.8,
    sure_error=0.1,
    possible_from=(0.1,) * 7,
    possible_coverage=0.9,
    melanoma_from=0.05,
)
CHECK = PhotographCheck(lesion_from=0.5, wrongly_flagged=0.01)


def test_rules_check_and_used_folds_survive_json(classifier_card):
    used = {"clinic": UsedFolds(fit=(0, 1), select=(8,), own_folds=True), "other": UsedFolds()}
    card = classifier_card(rules=RULES, photograph_check=CHECK, used_folds=used)
    assert ModelCard.from_json(card.to_json()) == card


def test_a_card_of_an_older_version_has_no_rules(classifier_card):
    values = json.loads(classifier_card().to_json())
    del values["rules"], values["photograph_check"], values["used_folds"]
    card = ModelCard.from_json(json.dumps(values))
    assert card.rules is card.photograph_check is None
    assert card.used_folds == {}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sure_from": 1.5}, r"rules\.sure_from is 1\.5, expected a number of 0 to 1"),
        ({"possible_from": (0.1,) * 6}, r"rules\.possible_from is .* expected seven numbers of 0 to 1"),
        ({"possible_from": (0.1,) * 6 + (float("nan"),)}, r"rules\.possible_from is"),
        ({"melanoma_from": "low"}, r"rules\.melanoma_from is 'low', expected a number of 0 to 1, or null"),
    ],
)
def test_impossible_rules_are_refused(changes, sentence):
    with pytest.raises(ModelError, match=sentence):
        dataclasses.replace(RULES, **changes)


def test_impossible_checks_and_folds_are_refused():
    with pytest.raises(ModelError, match=r"photograph_check\.lesion_from is -1"):
        PhotographCheck(lesion_from=-1, wrongly_flagged=0)
    with pytest.raises(ModelError, match=r"used_folds\.fit is \(-1,\), expected numbers of folds"):
        UsedFolds(fit=(-1,))
    with pytest.raises(ModelError, match=r"used_folds\.own_folds is 1, expected true or false"):
        UsedFolds(own_folds=1)


def test_an_outliner_has_no_rules(outliner_card):
    for changes in ({"rules": RULES}, {"photograph_check": CHECK}):
        with pytest.raises(ModelError, match="expected none, as the task is segmentation"):
            outliner_card(**changes)
