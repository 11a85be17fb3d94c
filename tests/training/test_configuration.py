import json

import pytest

from dermcheck.errors import ArgumentError
from dermcheck.networks import REFERENCE_MODELS
from dermcheck.networks.checkpoint import read_card
from dermcheck.training.configuration import Schedule, TrainingConfiguration
from dermcheck.training.dendrites import DendriteSettings


def test_learning_rate_warms_up_and_falls_to_nothing():
    schedule = Schedule(epochs=1, sides=(32,), rate=1.0, warm_up=10)
    rates = [schedule.rate_at(step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[1000] == pytest.approx(0)


def test_a_short_training_warms_up_for_a_quarter_of_its_steps_at_most():
    schedule = Schedule(epochs=1, sides=(32,), rate=1.0, warm_up=300)
    assert max(schedule.rate_at(step, 20) for step in range(20)) > 0.8


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": 0}, "epochs is 0, expected 1 or more"),
        ({"sides": (100,)}, "side is .100,., expected multiples of 32"),
        ({"sides": ()}, "side is"),
        ({"batch": 1}, "batch is 1"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"averaging": 1.0}, "averaging is 1.0"),
        ({"seed": -1}, "seed is -1"),
        ({"patience": 0}, "patience is 0"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused_in_words(changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        Schedule(**{"epochs": 1, "sides": (32,)} | changes)


def test_an_outliner_grows_no_dendrites():
    with pytest.raises(ArgumentError, match="outliner has none"):
        TrainingConfiguration(
            task="segmentation",
            architecture="unet",
            schedule=Schedule(epochs=1, sides=(32,)),
            dendrites=DendriteSettings(),
        )


@pytest.mark.parametrize("name", ["classifier", "outliner"])
def test_corrections_change_the_last_block_only_and_slowly(name):
    card = read_card(REFERENCE_MODELS / name)
    corrections = TrainingConfiguration.corrections(card)
    reference = TrainingConfiguration.reference(card.task, card.architecture)
    assert corrections.layers == "last_block"
    assert corrections.schedule.rate < reference.schedule.rate / 5
    assert corrections.schedule.sides == (card.input.side,)
    assert corrections.schedule.patience is not None


def test_a_configuration_can_be_kept_as_json():
    configuration = TrainingConfiguration(
        task="classification",
        architecture="densenet121",
        schedule=Schedule(epochs=1, sides=(32,)),
        dendrites=DendriteSettings(weight=0.1),
    )
    kept = json.loads(json.dumps(configuration.to_json()))
    assert kept["schedule"]["sides"] == [32]
    assert kept["dendrites"]["weight"] == 0.1
