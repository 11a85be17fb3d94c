import pytest

from dermcheck.errors import ArgumentError, ModelError, NotFoundError, StorageError
from dermcheck.networks.checkpoint import load_model
from dermcheck.registry import REFERENCE, Registry, current_account, registry_root


@pytest.fixture
def submit(registry, make_classifier):
    """Submit another classifier, which is not in use yet."""

    def run(**options):
        values = {"parent": None, "data_fingerprint": "d1", "configuration": {"epochs": 2}, "who": "anna"}
        return registry.submit(make_classifier(), **(values | options))

    return run


def tamper(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_an_absent_registry_means_the_models_that_dermcheck_came_with(registry):
    for task in ("classification", "segmentation"):
        assert registry.in_use(task).is_reference
        assert registry.versions(task)[0].name == REFERENCE
        assert all(version.is_reference for version in registry.versions(task))
    assert registry.stamp() is None
    assert not registry.folder.exists()
    registry.in_use("classification").verify()


def test_a_submitted_version_is_kept_with_all_that_is_known_but_not_in_use(registry, submit):
    version = submit(reason="with the corrections of May")
    again = Registry(registry.folder).find("classification-0001")
    assert again == version
    assert (again.data_fingerprint, again.configuration, again.who) == ("d1", {"epochs": 2}, "anna")
    assert registry.in_use("classification").is_reference
    _, card = load_model(version.folder)
    assert card.version == "classification-0001", "so that predictions name it as the registry does"
    assert registry.history()[0].reason == "with the corrections of May"


def test_every_event_changes_the_stamp(registry, submit):
    stamps = [registry.stamp()]
    version = submit()
    stamps.append(registry.stamp())
    registry.promote(version, "good", "anna")
    stamps.append(registry.stamp())
    registry.rollback("classification", "anna")
    stamps.append(registry.stamp())
    assert len(set(stamps)) == 4


def test_rolling_back_goes_back_step_by_step_whatever_was_refused_between(registry, submit):
    first, second, third = submit(), submit(), submit()
    registry.promote(first, "good", "anna")
    registry.refuse(third, "bad", "anna")
    registry.promote(second, "better", "anna")
    assert registry.rollback("classification", "ben", reason="odd answers").version == first.name
    assert registry.in_use("classification").name == first.name
    assert registry.rollback("classification", "ben").version == REFERENCE
    with pytest.raises(ArgumentError, match="there is nothing to go back to"):
        registry.rollback("classification", "ben")


def test_one_may_go_back_to_any_version_that_was_in_use_but_to_no_other(registry, submit):
    first, second, never = submit(), submit(), submit()
    registry.promote(first, "good", "anna")
    registry.promote(second, "better", "anna")
    with pytest.raises(ArgumentError, match=r"were in use before \(.*classification-0001"):
        registry.rollback("classification", "ben", to=never.name)
    registry.rollback("classification", "ben", to=REFERENCE)
    assert registry.in_use("classification").is_reference


def test_the_tasks_do_not_touch_each_other(registry, submit, make_outliner):
    registry.promote(submit(), "good", "anna")
    outliner = registry.submit(
        make_outliner(0), parent=None, data_fingerprint="", configuration={}, who="anna"
    )
    assert outliner.name == "segmentation-0001"
    assert registry.in_use("segmentation").is_reference
    assert not registry.in_use("classification").is_reference


@pytest.mark.parametrize("name", ["weights.safetensors", "card.json", "entry.json"])
def test_a_version_whose_files_were_changed_can_neither_be_promoted_nor_gone_back_to(registry, submit, name):
    good, changed, later = submit(), submit(), submit()
    for version in (good, changed, later):
        registry.promote(version, "good", "anna")
    tamper(changed.folder / name)
    with pytest.raises(ModelError, match=f"{name}: the SHA-256 of this file is"):
        registry.promote(changed, "again", "anna")
    with pytest.raises(ModelError, match="roll back to another version"):
        registry.rollback("classification", "anna")
    assert registry.in_use("classification").name == later.name
    registry.rollback("classification", "anna", to=good.name)
    assert registry.in_use("classification").name == good.name


def test_card_and_weights_exchanged_together_are_refused_too(registry, submit, make_classifier):
    """The card's own hash would fit; the log's does not."""
    version = submit()
    other = make_classifier(blind=("mel",))
    for name in ("card.json", "weights.safetensors"):
        (version.folder / name).write_bytes((other / name).read_bytes())
    load_model(version.folder)
    with pytest.raises(ModelError, match=r"card.json: the SHA-256"):
        version.load()


def test_a_missing_file_is_a_sentence(registry, submit):
    version = submit()
    (version.folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match="is missing"):
        version.load()


def test_the_candidate_is_not_changed(registry, make_classifier):
    candidate = make_classifier()
    before = {path.name: path.read_bytes() for path in candidate.iterdir()}
    registry.submit(candidate, parent=None, data_fingerprint="", configuration={}, who="anna")
    assert {path.name: path.read_bytes() for path in candidate.iterdir()} == before


def test_an_interrupted_submission_is_told_and_its_number_is_not_given_again(registry, submit):
    submit()
    shelf = registry.folder / "versions" / "classification"
    (shelf / "classification-0002").mkdir()
    (shelf / ".dermcheck-1-classification-0003").mkdir()
    assert submit().name == "classification-0003"
    assert any("its submission was interrupted" in problem for problem in registry.problems())


def test_a_full_disk_at_submission_leaves_no_half_version(registry, submit, make_classifier, fill_disk):
    submit()
    candidate = make_classifier()
    fill_disk("classification-0002")
    with pytest.raises(StorageError, match=r"No space left on device.*untouched"):
        registry.submit(candidate, parent=None, data_fingerprint="", configuration={}, who="anna")
    assert [path.name for path in (registry.folder / "versions" / "classification").iterdir()] == [
        "classification-0001"
    ]
    assert registry.problems() == []


def test_a_lost_submission_line_leaves_its_version_out_and_the_one_before_in_use(registry, submit):
    """The log was damaged by hand; what it still says is followed."""
    first, second = submit(), submit()
    registry.promote(first, "good", "anna")
    registry.promote(second, "better", "anna")
    log = registry.folder / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:1] + lines[2:]))
    assert registry.in_use("classification").name == first.name
    assert any("classification-0002 was in use, but its submission" in each for each in registry.problems())


@pytest.mark.parametrize(
    ("name", "sentence"), [("classification-001", "Did you mean classification-0001"), ("x", "models list")]
)
def test_an_unknown_version_is_answered_with_the_nearest(registry, submit, name, sentence):
    submit()
    with pytest.raises(NotFoundError, match=sentence):
        registry.find(name)


def test_the_second_classifier_that_comes_along_can_be_taken_into_use_and_left_again(registry):
    registry.promote("reference-densenet121", "to compare", "anna")
    version = registry.in_use("classification")
    assert version.is_reference
    network, card = version.load()
    assert card.architecture == "densenet121"
    assert type(network).__name__ == "DenseNet121"
    registry.rollback("classification", "anna")
    assert registry.in_use("classification").load()[1].architecture != "densenet121"


def test_the_reference_needs_its_task(registry):
    with pytest.raises(ArgumentError, match="classification or segmentation"):
        registry.find(REFERENCE)
    assert registry.find(REFERENCE, "segmentation").task == "segmentation"


def test_an_unknown_parent_and_a_configuration_that_is_no_json_are_refused(registry, submit):
    with pytest.raises(NotFoundError):
        submit(parent="classification-0009")
    with pytest.raises(ArgumentError, match="as JSON"):
        submit(configuration={"rate": float("nan")})
    assert registry.history() == []


def test_a_named_registry_must_exist_and_be_a_folder(tmp_path):
    with pytest.raises(ArgumentError, match="there is no such registry"):
        Registry.open(tmp_path / "slip of the pen", must_exist=True)
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match="this is a file"):
        Registry.open(tmp_path / "file")


def test_the_environment_names_the_folder_unless_the_argument_does(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMCHECK_MODELS", str(tmp_path / "a"))
    assert registry_root() == tmp_path / "a"
    assert registry_root(tmp_path / "b") == tmp_path / "b"


@pytest.mark.parametrize(("platform", "end"), [("linux", "data"), ("darwin", "Application Support")])
def test_by_default_it_lies_with_the_accounts_data(tmp_path, monkeypatch, platform, end):
    monkeypatch.delenv("DERMCHECK_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("sys.platform", platform)
    assert registry_root().parts[-3:] == (end, "dermcheck", "models")


def test_an_account_without_a_name_is_called_by_its_number(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: (_ for _ in ()).throw(KeyError("uid")))
    assert current_account().startswith(("account ", "unknown"))
