"""Real models answer real pixels through the product's path; the registry keeps what came of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dermcheck.errors import ArgumentError, ModelError
from dermcheck.networks.cards import UsedFolds
from dermcheck.registry import ModelVersion, Registry, competition
from dermcheck.registry.competition import compete
from dermcheck.registry.gate import GateDecision
from dermcheck.training.data import DataSet


@pytest.fixture
def let_compete(registry: Registry) -> Callable[..., tuple[ModelVersion, GateDecision]]:
    def run(
        candidate: Path, data: DataSet, own_folds: frozenset[str] = frozenset()
    ) -> tuple[ModelVersion, GateDecision]:
        return compete(
            registry,
            candidate,
            data,
            own_folds=own_folds,
            parent=None,
            configuration={"epochs": 1},
            data_fingerprint="abc",
            who="anna",
        )

    return run


@pytest.fixture
def in_use(registry: Registry, make_classifier: Callable[..., Path]) -> Callable[..., ModelVersion]:
    """Put a classifier into use by hand."""

    def put(**options: object) -> ModelVersion:
        version = registry.submit(
            make_classifier(**options), parent=None, data_fingerprint="", configuration={}, who="test"
        )
        registry.promote(version, "for the test", "test")
        return version

    return put


def test_a_better_candidate_comes_into_use_and_the_reason_is_kept(
    registry, in_use, make_classifier, photographs, let_compete
):
    before = in_use(blind=("bcc",))
    version, decision = let_compete(make_classifier(), photographs())
    assert decision.promoted
    assert decision.reason.startswith("better: balanced accuracy 1.000 against 0.857 in use")
    assert registry.in_use("classification").name == version.name
    event = registry.history()[-1]
    assert (event.kind, event.who, event.reason) == ("promoted", "anna", decision.reason)
    assert event.details["instead_of"] == before.name
    assert event.details["figures"]["balanced_accuracy"]["candidate"] == 1


def test_an_equal_candidate_comes_into_use(registry, in_use, make_classifier, photographs, let_compete):
    in_use()
    version, decision = let_compete(make_classifier(), photographs())
    assert decision.promoted
    assert decision.reason.startswith("equal within the margin")
    assert registry.in_use("classification").name == version.name


def test_a_classifier_that_looks_closer_competes_beside_the_outliner_in_use(
    registry, in_use, make_classifier, make_outliner, photographs, let_compete, monkeypatch
):
    outliner = registry.submit(
        make_outliner(0.0), parent=None, data_fingerprint="", configuration={}, who="test"
    )
    registry.promote(outliner, "for the test", "test")
    in_use(closer_look=True, blind=("bcc",))
    asked = []
    answer = competition.answer_photographs

    def answer_and_tell(model, data, folds, *, outliner):
        asked.append((model[1].input.closer_look, outliner[1].sha256))
        return answer(model, data, folds, outliner=outliner)

    monkeypatch.setattr(competition, "answer_photographs", answer_and_tell)
    _, decision = let_compete(make_classifier(), photographs())
    assert decision.promoted
    beside = registry.in_use("segmentation").read_card().sha256
    assert registry.in_use("segmentation").name == outliner.name
    assert asked == [(False, beside), (True, beside)]


def test_a_worse_candidate_is_kept_but_stays_out_of_use(
    registry, in_use, make_classifier, photographs, let_compete
):
    before = in_use()
    version, decision = let_compete(make_classifier(blind=("df",)), photographs())
    assert not decision.promoted
    assert "below the margin" in decision.reason
    assert registry.in_use("classification").name == before.name
    assert registry.history()[-1].kind == "refused"
    version.verify()


def test_a_candidate_that_is_blind_for_melanoma_is_refused_though_it_is_better_elsewhere(
    registry, in_use, make_classifier, photographs, let_compete
):
    before = in_use(blind=("bcc", "df", "vasc"))
    _, decision = let_compete(make_classifier(blind=("mel",)), photographs())
    assert decision.figures["balanced_accuracy"]["difference"] > 0.2
    assert not decision.promoted
    assert decision.reason.startswith("it misses melanomas that the model in use finds")
    assert "melanoma found in 0 of 24 photographs, by the model in use in 24" in decision.reason
    assert registry.in_use("classification").name == before.name


def test_a_better_outliner_comes_into_use_and_a_worse_one_does_not(
    registry, make_outliner, photographs, let_compete
):
    def jaccard_of(threshold: float) -> float:
        return let_compete(make_outliner(threshold), photographs())[1].figures["jaccard"]["candidate"]

    poor = registry.submit(make_outliner(0.9), parent=None, data_fingerprint="", configuration={}, who="test")
    registry.promote(poor, "for the test", "test")  # finds nothing
    assert jaccard_of(-0.5) > 0
    assert registry.in_use("segmentation").name == "segmentation-0002"
    assert jaccard_of(0.8) == 0
    assert registry.in_use("segmentation").name == "segmentation-0002"


def test_too_few_photographs_decide_nothing(registry, make_classifier, photographs, let_compete):
    _, decision = let_compete(make_classifier(), photographs(lesions=5))
    assert not decision.promoted
    assert "too few untouched photographs" in decision.reason
    assert "35 lesions, 5 melanomas" in decision.reason
    assert registry.in_use("classification").is_reference


def test_no_untouched_photograph_is_a_reason_too(registry, make_classifier, let_compete, photographs):
    _, decision = let_compete(make_classifier(), photographs(lesions=0))
    assert not decision.promoted
    assert "none of the photographs asked for has a diagnosis" in decision.reason
    assert registry.history()[-1].reason == decision.reason


@pytest.mark.parametrize("who_has_seen_them", ["candidate", "model in use"])
def test_photographs_that_a_model_was_selected_on_do_not_judge_it(
    registry, in_use, make_classifier, photographs, let_compete, who_has_seen_them
):
    seen = {"test": UsedFolds(fit=tuple(range(8)), select=(8, 9))}
    before = in_use(used_folds=seen if who_has_seen_them == "model in use" else None)
    _, decision = let_compete(
        make_classifier(used_folds=seen if who_has_seen_them == "candidate" else None), photographs()
    )
    assert not decision.promoted
    assert "was selected and calibrated on fold 9 of test" in decision.reason
    assert registry.in_use("classification").name == before.name


@pytest.mark.parametrize("who_has_seen_them", ["candidate", "model in use"])
@pytest.mark.parametrize("given", ["to the copy", "to the model"])
def test_the_folds_of_another_copy_of_the_data_do_not_judge(
    registry, in_use, make_classifier, photographs, let_compete, who_has_seen_them, given
):
    """What is fold 9 in one copy may have been learnt from in the other."""
    seen = {"test": UsedFolds(fit=tuple(range(8)), select=(8,), own_folds=given == "to the model")}
    before = in_use(used_folds=seen if who_has_seen_them == "model in use" else None, blind=("bcc",))
    _, decision = let_compete(
        make_classifier(used_folds=seen if who_has_seen_them == "candidate" else None),
        photographs(),
        frozenset({"test"} if given == "to the copy" else ()),
    )
    assert not decision.promoted
    assert "the folds of this copy of test are not those" in decision.reason
    assert registry.in_use("classification").name == before.name


@pytest.mark.parametrize("own", [False, True])
def test_the_untouched_fold_of_the_very_same_folds_judges(
    registry, in_use, make_classifier, photographs, let_compete, own
):
    seen = {"test": UsedFolds(fit=tuple(range(8)), select=(8,), own_folds=own)}
    in_use(used_folds=seen, blind=("bcc",))
    _, decision = let_compete(
        make_classifier(used_folds=seen), photographs(), frozenset({"test"} if own else ())
    )
    assert decision.promoted


def test_a_version_that_comes_into_use_meanwhile_is_the_one_to_beat(
    registry, in_use, make_classifier, photographs, let_compete, monkeypatch
):
    in_use(blind=("mel", "df"))
    answer = competition.answer_photographs
    rivals = []

    def answer_while_another_is_promoted(model, data, folds, **beside):
        answers = answer(model, data, folds, **beside)
        rivals.append(model[1].version)
        if len(rivals) == 2:  # the candidate and the first rival have answered
            in_use()
        return answers

    monkeypatch.setattr(competition, "answer_photographs", answer_while_another_is_promoted)
    _, decision = let_compete(make_classifier(blind=("df",)), photographs())
    assert rivals == ["classification-0002", "classification-0001", "classification-0003"]
    assert not decision.promoted, "better than the first, but worse than the one in use by now"
    assert registry.in_use("classification").name == "classification-0003"


def test_a_damaged_model_in_use_is_told_and_the_candidate_is_kept(
    registry, in_use, make_classifier, photographs, let_compete
):
    damaged = in_use()
    (damaged.folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="SHA-256"):
        let_compete(make_classifier(), photographs())
    assert [version.name for version in registry.versions("classification")][-1] == "classification-0002"
    assert registry.in_use("classification").name == damaged.name


def test_a_damaged_candidate_does_not_come_near(registry, make_classifier, photographs, let_compete):
    candidate = make_classifier()
    (candidate / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="damaged or was exchanged"):
        let_compete(candidate, photographs())
    assert registry.history() == []


def test_a_version_in_use_cannot_be_promoted_over_itself(registry, in_use):
    version = in_use()
    with pytest.raises(ArgumentError, match="in use for classification already"):
        registry.promote(version, "again", "test")
