from pathlib import Path

import pytest

from dermcheck.errors import ArgumentError
from dermcheck.learning.order import TrainingOrder
from dermcheck.networks import REFERENCE_MODELS
from dermcheck.networks.checkpoint import read_card
from dermcheck.training.dendrites import DendriteSettings

DATA = (Path("data"),)
CORRECTIONS = {"from_corrections": True, "studies": "studies"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "What shall be learnt from"),
        ({"from_corrections": True}, "Whose corrections"),
        ({"data": DATA, "reference_data": DATA}, "needs --from-corrections"),
        (CORRECTIONS | {"data": DATA}, "give one of them"),
        (CORRECTIONS | {"architecture": "densenet121"}, "--architecture is that of the model in use"),
        (CORRECTIONS | {"side": 64}, "--side is that of the model in use"),
        ({"data": DATA, "architecture": "unet"}, "expected densenet121 or"),
    ],
)
def test_orders_that_contradict_themselves_are_refused_in_words(changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        TrainingOrder(task="classification", **changes)


def test_what_is_asked_for_reaches_the_settings():
    order = TrainingOrder(
        task="classification",
        data=DATA,
        epochs=3,
        rate=0.1,
        batch=8,
        side=64,
        seed=5,
        architecture="densenet121",
    )
    schedule = order.configuration(None).schedule
    asked_for = (schedule.epochs, schedule.rate, schedule.batch, schedule.sides, schedule.seed)
    assert asked_for == (3, 0.1, 8, (64,), 5)


def test_dendrites_are_off_by_default_and_get_time_where_asked_for():
    plain = TrainingOrder(task="classification", data=DATA).configuration(None)
    grown = TrainingOrder(task="classification", data=DATA, dendrites=DendriteSettings(most=2)).configuration(
        None
    )
    assert plain.dendrites is None
    assert grown.schedule.epochs == 3 * plain.schedule.epochs


@pytest.mark.parametrize("seed", [-1])
def test_settings_out_of_range_are_refused_in_words(seed):
    with pytest.raises(ArgumentError, match="seed is -1, expected 0 or more"):
        TrainingOrder(task="classification", data=DATA, seed=seed).configuration(None)


@pytest.mark.parametrize("name", ["classifier", "outliner"])
def test_corrections_go_on_with_the_architecture_in_use(name):
    card = read_card(REFERENCE_MODELS / name)
    configuration = TrainingOrder(task=card.task, **CORRECTIONS).configuration(card)
    assert configuration.architecture == card.architecture
    assert configuration.corrections_share == 0.5


@pytest.mark.parametrize(("side", "batch", "expected"), [(128, None, 32), (224, None, 16), (224, 32, 32)])
def test_large_views_come_in_small_batches_unless_asked_for_otherwise(side, batch, expected):
    order = TrainingOrder(task="classification", data=DATA, side=side, batch=batch)
    assert order.configuration(None).schedule.batch == expected
