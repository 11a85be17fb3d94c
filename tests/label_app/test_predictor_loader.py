import pytest

from dermcheck.errors import ModelError
from dermcheck.label_app.predictor_loader import PredictorLoader


def test_the_models_are_there_when_asked_for(models):
    loader = PredictorLoader(models)
    assert loader.get() is loader.get()
    assert loader.is_usable()


def test_unusable_models_give_the_same_sentence_to_everyone(tmp_path):
    loader = PredictorLoader(tmp_path)
    for _ in range(2):
        with pytest.raises(ModelError, match="card is missing"):
            loader.get()
    assert not loader.is_usable()
