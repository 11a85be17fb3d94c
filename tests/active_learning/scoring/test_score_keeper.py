"""The keeper with real studies and tiny real models; what scores runs in this process but for one story."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event

import numpy as np
import psutil
import pytest

from dermcheck.active_learning.score_keeper import ModelInUse, ScoreKeeper
from dermcheck.active_learning.scoring import model_key
from dermcheck.active_learning.scoring_process import answer, make_source
from dermcheck.active_learning.scoring_worker import ScoringPlaces, ScoringProcess, ScoringStoppedError
from dermcheck.datastore import StudyStore
from dermcheck.dicom.author import Clinician
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.inference import Predictor
from dermcheck.lesions import LESION_CLASSES
from dermcheck.networks.checkpoint import load_model

LIMIT_S = 90


def key_of(models: Path) -> ModelInUse:
    cards = (load_model(models / name)[1] for name in ("classifier", "outliner"))
    return ModelInUse(model_key(*(card.sha256 for card in cards)), f"models in {models.name}")


class LocalScorer:
    """Does in this process what the scoring process does."""

    def __init__(self, places: ScoringPlaces) -> None:
        self._places = places
        self.model = ""
        self.crashes_at: set[str] = set()
        self.unreachable = False
        self.killed = Event()

    def connect(self) -> None:
        self._predictor = Predictor.load(self._places.models, backend="torch")
        self.model = key_of(self._places.models).key

    def answer(self, jobs: Sequence[dict]) -> list[dict]:
        if self.killed.is_set() or self.crashes_at.intersection(job["instance"] for job in jobs):
            raise ScoringStoppedError("The scoring process has ended (status 139).")
        if self.unreachable:
            jobs = [job | {"path": job["path"] + " out of reach"} for job in jobs]
        return answer(jobs, self._predictor, make_source(self._places.archive))

    def kill(self) -> None:
        self.killed.set()

    def close(self) -> None:
        self.killed.set()


@pytest.fixture
def keep(store: StudyStore, models: Path) -> Iterator[Callable[..., ScoreKeeper]]:
    keepers = []

    def make(folder: Path = models, **settings: object) -> ScoreKeeper:
        known = key_of(folder)
        arguments = {
            "model": lambda: known,
            "is_busy": lambda: False,
            "delay_s": 0,
            "pause_s": 0.02,
            "start_scorer": LocalScorer,
        }
        keepers.append(ScoreKeeper(store, ScoringPlaces(folder, None, None), **arguments | settings))
        return keepers[-1]

    yield make
    for keeper in keepers:
        keeper.close()


def wait(until: Callable[[], bool], keeper: ScoreKeeper) -> None:
    limit = time.monotonic() + LIMIT_S
    while not until():
        assert time.monotonic() < limit, keeper.progress()
        time.sleep(0.02)


def wait_complete(keeper: ScoreKeeper, scored: int) -> None:
    def is_complete() -> bool:
        progress = keeper.progress()
        return progress["state"] == "complete" and progress["scored"] == scored

    wait(is_complete, keeper)


def scoring_processes() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if any("scoring_process" in part for part in child.cmdline())
    ]


def test_the_real_process_scores_at_the_lowest_priority_and_survives_a_crash(
    keep, add, monkeypatch, tmp_path
):
    """A decoder that crashes: here the process ends by itself when it opens one certain photograph."""
    images = add(2)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def watch(event, arguments):\n"
        f"    if event == 'open' and '{images[1]}' in str(arguments[0]):\n"
        "        os._exit(139)\n"
        "if any('scoring_process' in part for part in sys.orig_argv):\n"
        "    sys.addaudithook(watch)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    keeper = keep(start_scorer=ScoringProcess)
    keeper.begin()
    wait(lambda: keeper.progress()["state"] == "complete", keeper)
    progress = keeper.progress()
    assert (progress["scored"], progress["failed"]) == (1, 1)
    assert keeper.table().rows(images).tolist().count(-1) == 1
    assert all(process.nice() == 19 for process in scoring_processes())
    keeper.close()
    assert scoring_processes() == []


def test_the_real_process_says_why_it_cannot_start(tmp_path):
    process = ScoringProcess(ScoringPlaces(tmp_path, None, None))
    with pytest.raises(ScoringStoppedError, match=r"Scoring cannot be started: .*classifier"):
        process.connect()
    process.close()


def test_everything_is_scored_also_what_comes_later_and_kept_for_the_next_start(keep, add, label, store):
    images = add(5)
    label(images[0], 4)
    keeper = keep()
    keeper.begin()
    wait_complete(keeper, 5)
    progress = keeper.progress()
    assert progress.pop("oldest").startswith("20")
    assert progress.pop("model").startswith("models in ")
    assert progress == {"state": "complete", "scored": 5, "of": 5, "failed": 0, "problem": None}
    assert keeper.table().pool(images).image_id.tolist() == images
    assert keeper.classes == {images[0]: 4}
    assert keeper.lesion(images[1]).patient == store.header(images[1]).patient_key

    more = add(2, start=5)
    label(more[0], -1)
    wait_complete(keeper, 7)
    assert keeper.classes == {images[0]: 4, more[0]: -1}
    keeper.close()

    again = keep(is_busy=lambda: True)  # it could score nothing
    again.begin()
    wait_complete(again, 7)
    assert again.classes == keeper.classes


def test_a_changed_photograph_is_scored_anew(keep, add, store, photographs):
    [image] = add(1)
    keeper = keep()
    keeper.begin()
    wait_complete(keeper, 1)
    before = keeper.table().pool([image]).embedding
    other = photographs(3)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = image
    other.save_as(store.path(image), enforce_file_format=True)
    store.refresh()
    wait(lambda: (keeper.table().pool([image]).embedding != before).any(), keeper)


def test_what_cannot_be_read_is_left_out_and_tried_again_on_request(keep, add, store):
    images = add(3)
    path = store.path(images[1])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    keeper = keep()
    keeper.begin()
    wait(lambda: keeper.progress()["state"] == "complete", keeper)
    progress = keeper.progress()
    assert (progress["scored"], progress["of"], progress["failed"]) == (2, 3, 1)
    path.write_bytes(content)
    keeper.start()
    wait_complete(keeper, 3)
    assert keeper.progress()["failed"] == 0


def test_photographs_of_several_frames_are_not_counted_as_waiting(keep, add, store, monkeypatch):
    images = add(3)
    monkeypatch.setattr(store, "multi_frame_ids", lambda: frozenset(images[:1]))
    keeper = keep()
    keeper.begin()
    wait_complete(keeper, 2)
    assert keeper.progress()["of"] == 2


def test_an_unreachable_archive_is_no_fault_of_the_photographs(keep, add):
    add(2)
    scorers = []

    def start(places):
        scorers.append(LocalScorer(places))
        scorers[-1].unreachable = len(scorers) == 1
        return scorers[-1]

    keeper = keep(start_scorer=start)
    keeper.begin()
    wait(lambda: keeper.progress()["state"] == "failed", keeper)
    progress = keeper.progress()
    assert (progress["failed"], progress["scored"]) == (0, 0)
    assert "out of reach" in progress["problem"]
    keeper.start()
    wait_complete(keeper, 2)
    assert keeper.progress()["problem"] is None


def test_a_label_out_of_reach_is_tried_again_later_and_not_all_the_time(keep, add, label):
    [image] = add(1)
    label(image, 4)
    asked = []

    class Scorer(LocalScorer):
        def answer(self, jobs):
            asked.append(jobs[0]["kind"])
            self.unreachable = asked == ["label"]
            return super().answer(jobs)

    keeper = keep(start_scorer=Scorer)
    keeper.begin()
    wait_complete(keeper, 1)
    time.sleep(0.3)  # some ten looks
    assert asked == ["label", "photograph"]
    assert keeper.classes == {}
    keeper.start()
    wait(lambda: keeper.classes == {image: 4}, keeper)


def test_nothing_is_begun_while_a_clinician_waits_and_after_a_stop(keep, add):
    add(2)
    busy, started = [True], []
    keeper = keep(
        is_busy=lambda: busy[0], start_scorer=lambda places: started.append(1) or LocalScorer(places)
    )
    keeper.begin()
    wait(lambda: keeper.progress()["state"] == "scoring", keeper)
    time.sleep(0.3)
    assert (keeper.progress()["scored"], started) == (0, [])
    keeper.stop()
    busy[0] = False
    wait(lambda: keeper.progress()["state"] == "stopped", keeper)
    assert keeper.progress()["scored"] == 0
    keeper.start()
    wait_complete(keeper, 2)


def test_after_a_change_of_models_the_old_scores_serve_until_there_are_enough_new_ones(
    keep, add, save_models, tmp_path, models
):
    images = add(3)
    others = save_models(tmp_path / "other models", seed=1)
    old_models, new_models = key_of(models), key_of(others)
    now, busy = [old_models], [False]
    keeper = keep(
        model=lambda: now[0],
        is_busy=lambda: busy[0],
        start_scorer=lambda _: LocalScorer(
            ScoringPlaces(models if now[0] is old_models else others, None, None)
        ),
    )
    keeper.begin()
    wait_complete(keeper, 3)
    old = keeper.table()
    busy[0], now[0] = True, new_models
    wait(lambda: keeper.progress()["state"] == "scoring", keeper)
    assert keeper.progress()["scored"] == 0
    assert keeper.table() is old
    assert not keeper.is_current(old)
    busy[0] = False
    wait_complete(keeper, 3)
    new = keeper.table()
    assert keeper.is_current(new)
    assert (old.model, new.model) == (old_models.key, new_models.key)
    assert (old.pool(images).embedding != new.pool(images).embedding).any(axis=1).all()
    busy[0], now[0] = True, old_models  # rolled back: nothing needs to be scored
    wait(lambda: keeper.table().model == old_models.key and keeper.is_current(keeper.table()), keeper)
    wait_complete(keeper, 3)
    keeper.close()
    again = keep(models)
    again.begin()
    wait_complete(again, 3)
    assert again._before is None  # the other models' scores are not even read: there are enough by these


def test_scores_by_other_models_than_those_that_answer_are_not_taken(keep, add, save_models, tmp_path):
    add(1)
    others = save_models(tmp_path / "other models", seed=1)
    keeper = keep(start_scorer=lambda _: LocalScorer(ScoringPlaces(others, None, None)))
    keeper.begin()
    wait(lambda: keeper.progress()["state"] == "failed", keeper)
    assert "other models" in keeper.progress()["problem"]
    assert keeper.table() is None


def test_photographs_and_labels_of_an_archive_are_scored_as_well(orthanc, photographs, tmp_path, models):
    photograph = photographs(900, tracking_id="Mole 9")
    image = str(photograph.SOPInstanceUID)
    known = key_of(models)
    with StudyStore.open(f"{orthanc}/dicom-web", tmp_path / "cache of the archive", watch=False) as store:
        store.store(photograph)
        header = store.header(image)
        mask = np.ones((header.rows, header.columns), np.bool_)
        segment = LesionSegment(mask, LESION_CLASSES[4])
        store.store(write_segmentation(store.retrieve(image), [segment], Clinician("Test")))
        keeper = ScoreKeeper(
            store,
            ScoringPlaces(models, None, f"{orthanc}/dicom-web"),
            lambda: known,
            lambda: False,
            delay_s=0,
            pause_s=0.02,
            start_scorer=LocalScorer,
        )
        keeper.begin()
        wait(lambda: keeper.progress()["state"] == "complete", keeper)
        keeper.close()
    assert keeper.table().pool([image]).image_id.tolist() == [image]
    assert keeper.classes[image] == 4
    assert keeper.lesion(image).name == "Mole 9"  # known without asking the archive for its header
