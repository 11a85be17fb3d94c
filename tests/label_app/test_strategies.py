import numpy as np
import pytest

from dermcheck.dicom.author import Algorithm, Clinician
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.label_app.datastore import DermCheckDatastore
from dermcheck.label_app.strategies import RandomStrategy

MODEL = Algorithm("Test", "1", "0" * 64)


@pytest.fixture
def label(store):
    def make(image_id: str, author: object) -> None:
        segment = LesionSegment(np.ones((30, 40), np.bool_), None)
        store.store(write_segmentation(store.retrieve(image_id), [segment], author))

    return make


@pytest.fixture
def choose(store):
    strategy, datastore = RandomStrategy(), DermCheckDatastore(store)
    return lambda **request: strategy(request, datastore)


def test_the_same_seed_gives_the_same_choice_and_seeds_reach_every_photograph(choose, store):
    chosen = [choose(seed=seed)["id"] for seed in range(40)]
    assert chosen == [choose(seed=seed)["id"] for seed in range(40)]
    assert set(chosen) == set(store.image_ids())


def test_without_a_seed_every_photograph_has_its_turn(choose, store):
    assert {choose(seed="")["id"] for _ in range(200)} == set(store.image_ids())


def test_photographs_with_a_final_label_are_left_out(choose, store, label):
    first, second, third = store.image_ids()
    label(first, Clinician("Test"))
    label(second, MODEL)  # a prediction is not a final label
    assert {choose(seed=seed)["id"] for seed in range(40)} == {second, third}


def test_nothing_is_chosen_once_everything_is_labelled(choose, store, label):
    for image_id in store.image_ids():
        label(image_id, Clinician("Test"))
    assert choose() == {}
