from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from dermcheck.active_learning.recommending import DESCRIPTIONS, Recommender
from dermcheck.active_learning.score_keeper import ScoreKeeper
from dermcheck.active_learning.scoring_worker import ScoringPlaces
from dermcheck.errors import NotFoundError
from dermcheck.label_app.application import DermCheckApp
from dermcheck.label_app.datastore import DermCheckDatastore
from dermcheck.label_app.next_cases import NextCases
from dermcheck.label_app.strategies import make_strategies
from dermcheck.label_app.worklist import Worklist


@pytest.fixture
def worklist():
    return Worklist()


@pytest.fixture
def cases(store, worklist):
    keeper = ScoreKeeper(store, ScoringPlaces(None, None, None), lambda: None, lambda: False)
    strategies = make_strategies(Recommender(store, keeper))
    return NextCases(strategies, DermCheckDatastore(store), worklist, keeper)


def test_without_a_name_the_first_strategy_chooses_and_an_unknown_one_is_told(cases, store):
    case = cases.choose(client="browser")
    assert case.image in store.image_ids()
    assert case.reason.startswith("Drawn at random: no scores yet")
    with pytest.raises(NotFoundError, match="no strategy 'best'; the strategies are hybrid"):
        cases.choose("best")


def test_reasons_and_their_absence_are_said_in_german_too(cases, store):
    asked = {"client": "browser", "language": "de"}
    assert cases.choose(**asked).reason.startswith("Zufällig gezogen: noch keine Bewertung")
    told = cases.choose(**asked, skip=store.image_ids()).detail
    assert told == "3 Fotos ohne Beurteilung wurden in dieser Sitzung ausgelassen."


@pytest.mark.parametrize("strategy", ["hybrid", "random"])
def test_of_many_who_ask_at_once_each_gets_another_photograph(cases, store, strategy):
    start = Barrier(12)

    def ask(number):
        start.wait()
        return cases.choose(strategy, client=f"browser {number}")

    with ThreadPoolExecutor(12) as pool:
        given = list(pool.map(ask, range(12)))
    images = [case.image for case in given if case.image]
    assert sorted(images) == sorted(store.image_ids())
    told = [case.detail for case in given if not case.image]
    assert len(told) == 9
    assert all(each.startswith("All photographs without a label are being worked on by") for each in told)


def test_what_is_given_back_is_handed_out_again(cases, worklist, store):
    given: list[str] = []
    for _ in store.image_ids():
        given.append(cases.choose(client="one", skip=given).image)
    assert set(given) == set(store.image_ids())
    assert cases.choose(client="two").image is None
    worklist.leave(given[0], "one")
    assert cases.choose(client="two").image == given[0]


@pytest.mark.parametrize("strategy", DESCRIPTIONS)
def test_there_is_a_sentence_for_each_strategy_that_finds_nothing(cases, store, strategy):
    case = cases.choose(strategy, client="browser", skip=store.image_ids())
    assert (case.image, case.reason) == (None, "")
    assert case.detail.endswith(".")


@pytest.fixture
def app(studies, tmp_path, models):
    made = DermCheckApp(str(tmp_path), str(studies), {"models": str(models)})
    yield made
    made.scores.close()
    made.answering.close()
    made.store.close()


def test_asking_again_gives_every_photograph_once_before_the_first_comes_back(app):
    ask = {"strategy": "random", "client": "Slicer"}
    given = [app.next_sample(ask)["id"] for _ in range(6)]
    assert set(given[:3]) == set(given[3:]) == set(app.store.image_ids())
    assert app.worklist.taken("another") == {given[-1]}  # what was passed by is given back


def test_a_photograph_that_cannot_be_read_is_passed_over(app):
    image = app.store.image_ids()[0]
    path = app.store.path(image)
    path.write_bytes(path.read_bytes()[:-3000])
    given = {app.next_sample({"strategy": "random", "client": "Slicer"})["id"] for _ in range(8)}
    assert given == set(app.store.image_ids()) - {image}
    assert app.worklist.visits(image) == []


def test_a_submitted_label_is_noticed_and_all_labelled_is_told(app, monkeypatch):
    looked = []
    monkeypatch.setattr(app.scores, "look", lambda: looked.append(True))
    app.on_save_label(app.store.image_ids()[0], "label")
    assert looked == [True]
    monkeypatch.setattr(app.datastore(), "get_unlabeled_images", lambda *_: [])
    assert app.next_sample({"strategy": "random", "client": "Slicer"}) == {
        "detail": "All 3 photographs have a label: nothing is left to do."
    }
