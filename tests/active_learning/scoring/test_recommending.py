from datetime import datetime

import numpy as np
import pytest

from dermcheck.active_learning.recommending import DESCRIPTIONS, Question, Recommender, nothing_left
from dermcheck.active_learning.score_keeper import ScoreKeeper
from dermcheck.active_learning.score_table import ScoreTable
from dermcheck.active_learning.scoring_worker import ScoringPlaces
from dermcheck.errors import NotFoundError

BY_SCORES = ("hybrid", "uncertain", "diverse")


@pytest.fixture
def keeper(store):
    """A keeper that is not running: what it knows is put in by the tests."""
    return ScoreKeeper(store, ScoringPlaces(None, None, None), lambda: None, lambda: False)


@pytest.fixture
def know(keeper, row):
    """Let the keeper have scores by the models in use."""

    def put(scores_of: dict[str, dict]) -> None:
        table = ScoreTable("model")
        table.put([row(image, seed, **values) for seed, (image, values) in enumerate(scores_of.items())])
        keeper._table = table

    return put


@pytest.fixture
def choose(store, keeper):
    recommender = Recommender(store, keeper)

    def ask(strategy, unlabelled=None, seed=0, **question):
        finished = store.finished_ids()
        free = [image for image in store.image_ids() if image not in finished]
        asked = Question(strategy, free if unlabelled is None else unlabelled, **question)
        return recommender.choose(asked, np.random.default_rng(seed))

    return ask


def test_an_unknown_strategy_is_told_with_those_that_there_are(choose):
    with pytest.raises(NotFoundError, match=r"no strategy 'best'; the strategies are hybrid, uncertain"):
        choose("best", ["1.2"])


@pytest.mark.parametrize("strategy", DESCRIPTIONS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_smallest_pools_are_chosen_from(choose, add, know, strategy, count):
    images = add(count)
    know({image: {} for image in images})
    chosen = choose(strategy)
    if count == 0 or strategy in ("follow_up", "second_reading"):
        assert chosen is None  # no lesion was seen twice, and there are no labels
    else:
        assert chosen.image_id in images
        assert chosen.reason[0].isupper()
        assert chosen.reason.endswith(".")
        assert choose(strategy, left_out=images) is None


@pytest.mark.parametrize("strategy", BY_SCORES)
def test_photographs_that_are_all_scored_alike_have_all_their_turn(choose, add, know, row, strategy):
    images = add(3)
    same = {name: getattr(row("x").scores, name) for name in ("probabilities", "embedding", "entropy")}
    alike = {**same, "margin": 0.5, "class_disagreement": 0.0, "outline_disagreement": 0.0}
    know(dict.fromkeys(images, alike))
    assert {choose(strategy, seed=seed).image_id for seed in range(40)} == set(images)


@pytest.mark.parametrize("strategy", BY_SCORES)
def test_scores_that_are_not_numbers_do_no_harm(choose, add, know, strategy):
    images = add(3)
    nothing = {
        "probabilities": np.full(7, np.nan),
        "embedding": np.full(64, np.nan, np.float32),
        **dict.fromkeys(("entropy", "margin", "class_disagreement", "outline_disagreement"), np.nan),
        "not_a_lesion": np.nan,
    }
    know({images[0]: nothing, images[1]: {}, images[2]: {}})
    assert choose(strategy).image_id in images
    know(dict.fromkeys(images, nothing))
    assert {choose(strategy, seed=seed).image_id for seed in range(60)} == set(images)


def test_the_most_unsure_comes_first_and_its_classes_are_named(choose, add, know):
    images = add(3)
    unsure = np.array([0.02, 0.02, 0.02, 0.02, 0.46, 0.44, 0.02])
    sure = {"entropy": 0.1, "margin": 0.9, "class_disagreement": 0.0, "outline_disagreement": 0.0}
    know(
        {
            images[0]: sure,
            images[1]: {
                "probabilities": unsure,
                "entropy": 0.6,
                "margin": 0.02,
                "class_disagreement": 0.3,
                "outline_disagreement": 0.3,
            },
            images[2]: sure,
        }
    )
    chosen = choose("uncertain")
    assert chosen.image_id == images[1]
    assert "unsure between melanoma (46%) and melanocytic naevus (44%)" in chosen.reason


def test_a_choice_on_part_of_the_scores_or_on_old_ones_says_so(choose, add, know, keeper):
    images = add(3)
    know({images[0]: {}, images[1]: {}})
    assert "among the 2 of 3 photographs scored so far." in choose("hybrid").reason
    keeper._before, keeper._table = keeper._table, ScoreTable("new")
    reason = choose("hybrid").reason
    assert reason.endswith("by the scores of the models used before, until those in use have scored enough.")
    assert choose("hybrid").image_id in images[:2]


def test_a_labelled_photograph_whose_class_nobody_has_and_which_has_no_scores_is_no_obstacle(
    choose, add, know, keeper
):
    images = add(4)
    know({image: {} for image in images[:3]})
    keeper.classes = {images[0]: 3, images[3]: -1}
    assert choose("hybrid", images[1:3]).image_id in images[1:3]


def visits(store, photographs, number, *days, **details):
    """Add photographs of one patient, one for each day; returns their ids."""
    added = []
    for place, day in enumerate(days):
        photograph = photographs(
            100 * number + place, patient_id=f"PATIENT-{number}", acquired=datetime(2024, 1, day), **details
        )
        store.store(photograph)
        added.append(str(photograph.SOPInstanceUID))
    return added


def test_follow_up_shows_the_followed_lesion_that_changed_most_first(choose, store, photographs, know):
    little = visits(store, photographs, 1, 1, 20, tracking_id="Mole 1")
    much = visits(store, photographs, 2, 1, 20, tracking_id="Mole 2")
    alone = visits(store, photographs, 3, 5, tracking_id="Mole 3")
    naevus, melanoma = np.eye(7)[5], np.eye(7)[4]
    same = {"embedding": np.ones(64, np.float32)}
    know(
        {
            little[0]: {**same, "probabilities": naevus},
            little[1]: {**same, "probabilities": naevus * 0.95 + melanoma * 0.05},
            much[0]: {**same, "probabilities": naevus},
            much[1]: {**same, "probabilities": naevus * 0.3 + melanoma * 0.7},
            alone[0]: {**same, "probabilities": melanoma},
        }
    )
    first = choose("follow_up")
    assert first.image_id == much[1]
    assert first.reason.startswith("The lesion (Mole 2) that was photographed on 2024-01-01; for the model ")
    second = choose("follow_up", left_out=[much[1]])
    assert second.image_id == little[1]
    assert second.reason.endswith("the model sees little change.")
    assert choose("follow_up", left_out=[much[1], little[1]]) is None


def test_follow_up_needs_no_scores_and_takes_no_two_photographs_of_one_moment_for_two_visits(
    choose, store, photographs
):
    visits(store, photographs, 1, 7, 7, tracking_id="Mole 1")
    assert choose("follow_up") is None
    second = visits(store, photographs, 2, 1, 20, tracking_id="Mole 1")  # of another patient
    chosen = choose("follow_up")
    assert chosen.image_id == second[1]
    assert "how much it changed is not computed yet" in chosen.reason


def test_second_reading_shows_what_the_model_contradicts_and_says_neither_opinion(
    choose, add, label, know, keeper
):
    images = add(4)
    for image, given in zip(images, (5, 5, 5, -1), strict=True):
        label(image, given)
        keeper.classes[image] = given
    know(
        {
            images[0]: {"decision": 4, "confidence": 0.8},
            images[1]: {"decision": 4, "confidence": 0.95},
            images[2]: {"decision": 5, "confidence": 0.99},  # agrees
            images[3]: {"decision": 4, "confidence": 0.99},  # there is nothing to contradict
        }
    )
    first = choose("second_reading")
    assert first.image_id == images[1]
    assert not any(word in first.reason for word in ("mel", "nv", "naev"))
    assert choose("second_reading", left_out=[images[1]]).image_id == images[0]
    label(images[1], 4, "Another^Doctor")  # it has been read again
    assert choose("second_reading").image_id == images[0]
    assert choose("second_reading", left_out=[images[0]]) is None


def test_second_reading_is_rather_given_to_somebody_else(choose, add, label, know, keeper):
    images = add(2)
    readers = ("First^Doctor", "Second^Doctor")
    for image, reader in zip(images, readers, strict=True):
        label(image, 5, reader)
        keeper.classes[image] = 5
    know({images[0]: {"decision": 4, "confidence": 0.8}, images[1]: {"decision": 4, "confidence": 0.9}})
    assert choose("second_reading", reader=readers[0]).image_id == images[1]
    assert choose("second_reading", reader=readers[1]).image_id == images[0]
    assert choose("second_reading", reader=readers[1], left_out=[images[0]]).image_id == images[1]


@pytest.mark.parametrize(
    ("strategy", "counts", "told"),
    [
        ("hybrid", (0, 0, 0, 0), "The studies hold no photograph."),
        ("hybrid", (5, 0, 0, 0), "All 5 photographs have a label: nothing is left to do."),
        ("hybrid", (5, 2, 2, 0), "All photographs without a label are being worked on by others."),
        ("hybrid", (5, 2, 0, 0), "2 photographs without a label were left out in this session."),
        (
            "follow_up",
            (5, 2, 0, 0),
            "No photograph without a label shows a lesion that was photographed befo",
        ),
        ("second_reading", (5, 2, 0, 0), "No label waits for a second reading."),
        ("second_reading", (5, 2, 0, 3), "No label waits for a second reading so far; 3 photographs have no"),
    ],
)
def test_why_there_is_nothing_is_said_in_words(strategy, counts, told):
    photographs, unlabelled, in_other_hands, unscored = counts
    sentence = nothing_left(
        strategy, photographs, unlabelled, in_other_hands=in_other_hands, unscored=unscored
    )
    assert sentence.startswith(told)
