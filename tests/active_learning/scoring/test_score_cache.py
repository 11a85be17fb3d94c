import sqlite3
from datetime import datetime

import numpy as np
import pytest

from dermcheck.active_learning.score_cache import FollowedLesion, LabelClass, ScoreCache
from dermcheck.active_learning.score_table import ScoreTable


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scores.sqlite"


@pytest.fixture
def cache(path):
    return ScoreCache(path)


def test_what_is_put_in_comes_out_again_of_another_process_too(cache, path, row):
    rows = [row("1.2", 0), row("1.3", 1, decision=6, confidence=0.9)]
    cache.put("model", rows)
    found = {each.image: each for each in ScoreCache(path).rows("model")}
    for each in rows:
        again = found[each.image]
        assert (again.revision, again.scored_at) == (each.revision, each.scored_at)
        for name in ("entropy", "margin", "class_disagreement", "outline_disagreement", "not_a_lesion"):
            assert getattr(again.scores, name) == getattr(each.scores, name)
        assert (again.scores.decision, again.scores.confidence) == (
            each.scores.decision,
            each.scores.confidence,
        )
        np.testing.assert_array_equal(again.scores.probabilities, each.scores.probabilities)
        np.testing.assert_array_equal(again.scores.embedding, each.scores.embedding)


def test_the_scores_of_two_models_are_kept_apart(cache, row):
    cache.put("old", [row("1.2", 0)])
    cache.put("new", [row("1.2", 1), row("1.3", 2)])
    assert {each.image for each in cache.rows("old")} == {"1.2"}
    assert {each.image for each in cache.rows("new")} == {"1.2", "1.3"}


def test_the_scores_of_the_two_latest_models_are_kept(cache, row):
    for number, model in enumerate(("first", "second", "third")):
        cache.use(model, f"Model {number}", float(number))
        cache.put(model, [row("1.2")])
    assert list(cache.models()) == ["third", "second"]
    assert cache.rows("first") == []
    assert len(cache.rows("second")) == 1


def test_a_photograph_that_could_be_scored_after_all_is_no_failure_any_more(cache, row):
    cache.put_failure("model", "1.2", "1", "instance 1.2: damaged.")
    assert cache.failures("model") == {"1.2": ("1", "instance 1.2: damaged.")}
    cache.put("model", [row("1.2", revision="2")])
    assert cache.failures("model") == {}


def test_lesions_and_labels_are_kept(cache, path):
    lesion = FollowedLesion("ab", "1.9", "Mole 3", "Back", "L", datetime(2024, 5, 31, 12, 0))
    unknown = FollowedLesion("cd", None, None, None, None, None)
    cache.put_lesions({"1.2": lesion, "1.3": unknown})
    cache.put_labels([LabelClass("2.1", "1.2", 4), LabelClass("2.2", "1.3", -1)])
    assert ScoreCache(path).lesions() == {"1.2": lesion, "1.3": unknown}
    assert ScoreCache(path).labels() == [LabelClass("2.1", "1.2", 4), LabelClass("2.2", "1.3", -1)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"this is no database " * 500),
        lambda path: path.write_bytes(path.read_bytes()[:3000] + b"\xff" * 9000),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
    ids=["other content", "overwritten pages", "empty", "removed"],
)
def test_a_damaged_file_is_begun_anew(cache, path, row, damage):
    cache.put("model", [row(f"1.{number}") for number in range(40)])
    damage(path)
    again = ScoreCache(path)
    assert len(again.rows("model")) < 40
    again.put("model", [row("1.2")])
    again.put("model", [row("1.2")])
    assert [each.image for each in again.rows("model")] == ["1.2"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("numbers", b""),
        ("numbers", np.full(14, np.nan).tobytes()),
        ("numbers", np.array([*np.full(13, 0.1), 99.0]).tobytes()),
        ("numbers", None),
        ("embedding", b"abc"),
        ("embedding", b""),
        ("embedding", np.full(64, np.inf, np.float32).tobytes()),
    ],
)
def test_rows_that_make_no_sense_are_left_out(cache, path, row, column, value):
    cache.put("model", [row("1.2"), row("1.3")])
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE scores SET {column} = ? WHERE image = '1.2'", (value,))
    connection.close()
    assert [each.image for each in cache.rows("model")] == ["1.3"]


def test_the_table_gives_the_pool_of_those_that_have_scores(row):
    table = ScoreTable("model")
    table.put([row(f"1.{number}", number) for number in range(600)])  # more than it begins with
    table.put([row("1.7", 1007, revision="2")])
    assert len(table) == 600
    pool = table.pool(["1.7", "1.599", "9.9"])
    assert list(pool.image_id) == ["1.7", "1.599"]
    assert pool.model == "model"
    expected = row("1.7", 1007).scores
    np.testing.assert_allclose(pool.probabilities[0], expected.probabilities, rtol=1e-5)
    np.testing.assert_allclose(pool.embedding[0], expected.embedding)
    assert pool.outline_disagreement[0] == pytest.approx(expected.outline_disagreement, rel=1e-5)
    assert table.revision("1.7") == "2"
    assert table.revision("9.9") is None


def test_the_table_knows_no_embedding_of_what_has_no_scores(row):
    table = ScoreTable("model")
    assert len(table.pool(["1.2"])) == 0
    table.put([row("1.2")])
    labelled = table.labelled({"1.2": 4, "9.9": -1})
    assert list(labelled.diagnosis) == [4, -1]
    assert np.isfinite(labelled.embedding[0]).all()
    assert np.isnan(labelled.embedding[1]).all()
    assert labelled.model == "model"
    decided, confidence = table.decided(["9.9", "1.2"])
    assert (list(decided), list(confidence)) == ([-1, 5], [0, 0.5])
