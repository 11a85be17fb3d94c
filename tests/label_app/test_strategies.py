import numpy as np
import pytest

from dermcheck.active_learning.recommending import DESCRIPTIONS, Recommender
from dermcheck.active_learning.score_keeper import ScoreKeeper
from dermcheck.active_learning.scoring_worker import ScoringPlaces
from dermcheck.dicom.author import Algorithm, Clinician
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.label_app.datastore import DermCheckDatastore
from dermcheck.label_app.strategies import make_strategies

MODEL = Algorithm("Test", "1", "0" * 64)


@pytest.fixture
def label(store):
    def make(image_id: str, author: object) -> None:
        segment = LesionSegment(np.ones((30, 40), np.bool_), None)
        store.store(write_segmentation(store.retrieve(image_id), [segment], author))

    return make


@pytest.fixture
def choose(store):
    keeper = ScoreKeeper(store, ScoringPlaces(None, None, None), lambda: None, lambda: False)
    strategies, datastore = make_strategies(Recommender(store, keeper)), DermCheckDatastore(store)
    return lambda strategy="random", **request: strategies[strategy](request, datastore)


def test_the_same_seed_gives_the_same_choice_and_seeds_reach_every_photograph(choose, store):
    chosen = [choose(seed=seed)["id"] for seed in range(40)]
    assert chosen == [choose(seed=seed)["id"] for seed in range(40)]
    assert set(chosen) == set(store.image_ids())


def test_without_a_seed_every_photograph_has_its_turn(choose, store):
    assert {choose(seed="")["id"] for _ in range(200)} == set(store.image_ids())


def test_photographs_with_a_final_label_and_those_to_be_skipped_are_left_out(choose, store, label):
    first, second, third = store.image_ids()
    label(first, Clinician("Test"))
    label(second, MODEL)  # a prediction is not a final label
    assert {choose(seed=seed)["id"] for seed in range(40)} == {second, third}
    assert choose(skip=[second])["id"] == third


@pytest.mark.parametrize("strategy", DESCRIPTIONS)
def test_nothing_is_chosen_once_everything_is_labelled(choose, store, label, strategy):
    for image_id in store.image_ids():
        label(image_id, Clinician("Test"))
    assert choose(strategy) == {}


@pytest.mark.parametrize("strategy", ["hybrid", "uncertain", "diverse"])
def test_without_scores_a_photograph_is_drawn_and_the_reason_says_so(choose, store, strategy):
    drawn = [choose(strategy) for _ in range(60)]
    assert {each["id"] for each in drawn} == set(store.image_ids())
    assert drawn[0]["reason"].startswith("Drawn at random: no scores yet (0 of 0")
    assert not drawn[0]["second_reading"]
