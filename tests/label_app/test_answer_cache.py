"""The memory of answers has a bound, and forgets those first that nobody asks for."""

from dermcheck.label_app.answer_cache import AnswerCache
from dermcheck.label_app.answers import Reply


def reply(size: int) -> Reply:
    return Reply({}, bytes(size))


def test_the_longest_unasked_answer_is_forgotten_first():
    cache = AnswerCache(most_bytes=250)
    for name in ("a", "b"):
        cache.put(name, reply(100))
    cache.get("a")
    cache.put("c", reply(100))
    assert [name for name in "abc" if cache.get(name)] == ["a", "c"]


def test_an_answer_put_twice_is_counted_once():
    cache = AnswerCache(most_bytes=250)
    for _ in range(5):
        cache.put("a", reply(100))
    cache.put("b", reply(100))
    assert cache.get("a")
    assert cache.get("b")


def test_one_that_is_too_large_for_the_bound_is_not_kept():
    cache = AnswerCache(most_bytes=250)
    cache.put("large", reply(300))
    assert cache.get("large") is None
    cache.put("small", reply(10))
    assert cache.get("small")
