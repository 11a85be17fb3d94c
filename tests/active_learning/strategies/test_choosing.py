"""Strategies choose what they promise, and stand odd pools."""

import numpy as np
import pytest

from dermcheck.active_learning.pool import COMPACT_SIZE, Labelled, Pool, compact_embedding
from dermcheck.active_learning.strategies import STRATEGIES, choose
from dermcheck.errors import ArgumentError, NotFoundError
from dermcheck.lesions import CLASSES

NV, DF = CLASSES.index("nv"), CLASSES.index("df")
every_strategy = pytest.mark.parametrize("name", STRATEGIES)


def make_pool(probabilities, embedding=None, **scores):
    count = len(probabilities)
    if embedding is None:
        embedding = np.random.default_rng(1).normal(size=(count, 8))
    names = np.array([f"image-{row}" for row in range(count)], dtype=np.str_)
    probabilities = np.asarray(probabilities, float).reshape(count, 7)
    return Pool.of(names, probabilities, np.asarray(embedding, float), "model", **scores)


def alike(count):
    return make_pool(np.full((count, 7), 1 / 7), np.ones((count, 4)))


def certain(index, share=0.94):
    return [share if c == index else (1 - share) / 6 for c in range(7)]


def rng():
    return np.random.default_rng(0)


@every_strategy
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_small_pool_is_chosen_whole_and_nothing_twice(name, count):
    chosen = choose(name, alike(count), Labelled.none(), 5, rng())
    assert sorted(choice.image_id for choice in chosen) == [f"image-{row}" for row in range(count)]


@every_strategy
def test_photographs_scored_alike_are_not_always_chosen_in_the_folders_order(name):
    firsts = {
        choose(name, alike(50), Labelled.none(), 1, np.random.default_rng(seed))[0].image_id
        for seed in range(8)
    }
    assert len(firsts) > 2


@every_strategy
def test_scores_and_embeddings_that_are_not_known_stop_nobody(name):
    unknown = np.full(6, np.nan)
    pool = make_pool(np.full((6, 7), np.nan), np.full((6, 8), np.nan), outline_disagreement=unknown)
    labelled = Labelled(np.full((2, 8), np.nan), np.array([NV, -1]), "model")
    assert len({choice.image_id for choice in choose(name, pool, labelled, 6, rng())}) == 6


@every_strategy
def test_embeddings_of_an_older_model_are_not_compared(name):
    pool = make_pool(np.full((4, 7), 1 / 7))
    older = Labelled(np.ones((3, 1280)), np.array([NV, NV, DF]), "older model")
    chosen = choose(name, pool, older, 4, rng())
    assert len(chosen) == 4
    assert not any("unlike" in choice.reason for choice in chosen)


@every_strategy
def test_the_same_state_gives_the_same_choice(name):
    pool = make_pool(np.random.default_rng(2).dirichlet(np.ones(7), 40))
    labelled = Labelled(np.zeros((1, 8)), np.array([NV]), "model")
    assert choose(name, pool, labelled, 5, rng()) == choose(name, pool, labelled, 5, rng())


def test_uncertain_chooses_the_doubtful_first_and_names_the_two_classes():
    pool = make_pool([certain(NV), [0, 0, 0, 0, 0.48, 0.52, 0], certain(DF)])
    first, *_ = choose("uncertain", pool, Labelled.none(), 3, rng())
    assert first.image_id == "image-1"
    assert first.reason.startswith("the model is unsure between melanocytic naevus (52%) and melanoma (48%)")


def test_the_reason_is_said_in_the_readers_language_and_the_choice_is_the_same():
    pool = make_pool([certain(NV), [0, 0, 0, 0, 0.48, 0.52, 0], certain(DF)])
    english = choose("uncertain", pool, Labelled.none(), 3, rng())
    german = choose("uncertain", pool, Labelled.none(), 3, rng(), "de")
    assert [choice.image_id for choice in german] == [choice.image_id for choice in english]
    words = "das Modell schwankt: melanozytärer Nävus (52 %) oder Melanom (48 %)"
    assert german[0].reason.startswith(words)


def test_what_is_not_a_lesion_comes_last():
    pool = make_pool(
        [[0, 0, 0, 0, 0.5, 0.5, 0], certain(NV), certain(DF)], not_a_lesion=np.array([1.0, 0, 0])
    )
    assert choose("uncertain", pool, Labelled.none(), 3, rng())[-1].image_id == "image-0"


def test_diverse_takes_one_of_each_group_before_a_second():
    groups = np.repeat(np.eye(4) * 100, 10, axis=0)
    pool = make_pool(np.full((40, 7), 1 / 7), groups)
    chosen = choose("diverse", pool, Labelled.none(), 4, rng())
    assert {int(choice.image_id.split("-")[1]) // 10 for choice in chosen} == {0, 1, 2, 3}


def test_hybrid_finds_the_class_that_the_labels_lack():
    """2 of 100 photographs look like a dermatofibroma, and none is labelled."""
    pool = make_pool([certain(DF, 0.5) if row in (17, 71) else certain(NV) for row in range(100)])
    labelled = Labelled(np.zeros((60, 8)), np.repeat([0, 1, 2, 4, NV, 6], 10), "model")
    chosen = choose("hybrid", pool, labelled, 10, rng())
    assert {"image-17", "image-71"} <= {choice.image_id for choice in chosen}
    assert any("may be dermatofibroma (50%), of which none is labelled" in choice.reason for choice in chosen)


def test_hybrid_prefers_a_doubtful_outline_where_classes_tell_nothing():
    doubt = np.where(np.arange(40) < 20, 0.0, 1.0)
    pool = make_pool(np.full((40, 7), 1 / 7), np.eye(40), outline_disagreement=doubt)
    labelled = Labelled(np.zeros((1, 40)), np.array([NV]), "model")
    chosen = choose("hybrid", pool, labelled, 10, rng())
    assert sum(int(choice.image_id.split("-")[1]) >= 20 for choice in chosen) == 10


def test_an_unknown_strategy_is_answered_with_the_known_ones():
    with pytest.raises(NotFoundError, match="'best'; expected one of random, uncertain, diverse, hybrid"):
        choose("best", alike(3), Labelled.none(), 1, rng())


def test_fewer_than_none_cannot_be_chosen():
    with pytest.raises(ArgumentError, match="-1 photographs"):
        choose("random", alike(3), Labelled.none(), -1, rng())


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ArgumentError, match=r"outline_disagreement has the shape \(2,\), expected \(3,\)"):
        make_pool(np.full((3, 7), 1 / 7), outline_disagreement=np.zeros(2))


def test_compact_embeddings_keep_who_is_near_whom_and_can_be_made_one_by_one():
    features = np.random.default_rng(3).normal(size=(20, 1280))
    features[1] = features[0] + 0.1 * features[1]
    compact = compact_embedding(features)
    assert compact.shape == (20, COMPACT_SIZE)
    np.testing.assert_allclose(compact_embedding(features[5:6])[0], compact[5], rtol=0, atol=1e-6)
    distances = np.linalg.norm(compact - compact[0], axis=1)
    assert np.argsort(distances)[1] == 1
