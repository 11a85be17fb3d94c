"""What a model has seen is not measured on without saying so."""

from dataclasses import replace
from pathlib import Path

import pytest

from dermcheck.networks.cards import UsedFolds
from dermcheck.training.data import DataSet, LabelledPhotograph
from dermcheck.training.data.data_set import PictureFile
from dermcheck.training.evaluation.seen import reasons_against, sources_with_folds, untouched_folds


def data_set(source: str, name: str = "photo", fold: int | None = 9) -> DataSet:
    photograph = LabelledPhotograph(
        image_id=f"{name}_1", source=source, picture=PictureFile(Path("x.png")), fold=fold
    )
    return DataSet(source, (photograph,))


@pytest.fixture
def card(make_card):
    used = UsedFolds(fit=tuple(range(8)), select=(8,), own_folds=True)
    return make_card(used_folds={"ham10000": used})


def test_fold_9_of_what_it_was_trained_on_is_untouched(card):
    data = data_set("ham10000")
    assert untouched_folds(card, data) == (9,)
    assert reasons_against(card, data, (9,), sources_with_folds(data)) == []


def test_folds_that_fitted_or_selected_are_named(card):
    data = data_set("ham10000")
    (fitted,) = reasons_against(card, data, (0, 3, 9), {"ham10000"})
    (selected,) = reasons_against(card, data, (8,), {"ham10000"})
    assert "was trained on folds 0, 3 of ham10000" in fitted
    assert "was selected and calibrated on fold 8 of ham10000" in selected


def test_a_copy_with_other_folds_may_hold_anything(card):
    data = data_set("ham10000", fold=None)
    (reason,) = reasons_against(card, data, (9,), sources_with_folds(data))
    assert "the folds of this copy of ham10000 are not those" in reason


def test_data_of_another_origin_are_untouched_as_a_whole(card):
    data = data_set("clinic")
    assert untouched_folds(card, data) == tuple(range(10))
    assert reasons_against(card, data, range(10), {"clinic"}) == []


def test_isic_images_under_another_name_are_suspected(card):
    (reason,) = reasons_against(card, data_set("isic2018_task3", "ISIC"), (9,), set())
    assert "may have seen some as part of ham10000" in reason


def test_a_card_that_does_not_say_is_no_proof(card):
    silent = replace(card, used_folds={})
    assert untouched_folds(silent, data_set("clinic")) == (9,)
    (reason,) = reasons_against(silent, data_set("clinic"), (9,), set())
    assert "does not say which folds it was trained on" in reason
