"""DermCheck as MONAI Label sees it: datastore, models, strategies."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp

from dermcheck.active_learning.recommending import Recommender
from dermcheck.datastore import StudyStore
from dermcheck.dicom.author import SOFTWARE_VERSION
from dermcheck.dicom.files import open_file
from dermcheck.dicom.photograph import read_dataset
from dermcheck.dicomweb.frames import instance_bytes
from dermcheck.dicomweb.service import DicomWebService
from dermcheck.errors import ArgumentError, NotFoundError, UnreadableImageError
from dermcheck.label_app.answer_cache import AnswerCache
from dermcheck.label_app.answering import Answering, LocalAnswering
from dermcheck.label_app.answering_process import AnsweringProcess
from dermcheck.label_app.answers import (
    BROWSER,
    DIAGNOSES,
    LESION,
    MODELS,
    NOTICE,
    Question,
    Reply,
    wanted_form,
)
from dermcheck.label_app.automatic_training import AutomaticTraining
from dermcheck.label_app.browser_submissions import SubmissionStore
from dermcheck.label_app.datastore import DermCheckDatastore
from dermcheck.label_app.history_drawing import HistoryPicture
from dermcheck.label_app.infer_tasks import LesionTask, make_infer_tasks
from dermcheck.label_app.next_cases import LONG_LEASE_S, NextCases
from dermcheck.label_app.prediction_queue import PredictionQueue
from dermcheck.label_app.proposals import RecentProposals
from dermcheck.label_app.scoring_tasks import SCORING_METHOD, ScoringTask, make_score_keeper
from dermcheck.label_app.server import attach
from dermcheck.label_app.sessions import PhotographSessions
from dermcheck.label_app.source_image import SentPhotograph
from dermcheck.label_app.strategies import make_strategies
from dermcheck.label_app.train_tasks import LesionTrainTask, Trainers, make_train_tasks
from dermcheck.label_app.training_pause import TrainingPause
from dermcheck.label_app.worklist import Worklist
from dermcheck.learning.schedule import Schedule
from dermcheck.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from monailabel.interfaces.tasks.strategy import Strategy

__all__ = ["DermCheckApp"]

logger = logging.getLogger(__name__)


class DermCheckApp(MONAILabelApp):  # type: ignore[misc]  # monailabel has no types
    """The app.

    Parameters
    ----------
    app_dir
        Folder of the `main.py` that MONAI Label was started with.
    studies
        Folder of DICOM files, or URL of a DICOMweb archive.
    conf
        `models`: folder with the subfolders `classifier` and `outliner`; without it `registry`: folder of
        the registry whose versions in use predict, see `registry_root` for the default.
        `retrain_after` (corrections) and `retrain_at` (hours like 22:00-06:00): see `Schedule`.
    """

    def __init__(
        self, app_dir: str, studies: str, conf: dict[str, str] | None, answering: Answering | None = None
    ) -> None:
        _switch_tracking_off()
        conf = conf or {}
        self._models = _models(conf)
        self._answering = answering
        self._answers = AnswerCache()
        self.predictions = PredictionQueue()
        self._proposals = RecentProposals()
        self.worklist = Worklist()
        self.examine: Callable[[], list[dict[str, str | None]]] | None = None  # set by who knows the doctor
        self.trainers: Trainers | None = None
        self.automatic: AutomaticTraining | None = None
        self._training_pause: TrainingPause | None = None
        self.history: HistoryPicture | None = None
        self._schedule = Schedule.parse(conf.get("retrain_after"), conf.get("retrain_at"))
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="DermCheck",
            description=f"Outlines and classifies skin lesions in DICOM photographs. {NOTICE}",
            version=SOFTWARE_VERSION,
            labels=[*DIAGNOSES, LESION],
        )

    def init_datastore(self) -> DermCheckDatastore:
        """Open the studies."""
        self.store = StudyStore.open(self.studies)
        self.submissions = SubmissionStore(self.store, self._proposals)
        self.dicomweb = DicomWebService.of(self.store, self.studies)
        self.scores = make_score_keeper(
            self.store,
            str(self.studies),
            self._models,
            lambda: self.model_versions()["versions"],
            self.predictions.busy,
        )
        for problem in self.store.problems():
            logger.warning("%s", problem)
        return DermCheckDatastore(self.store, proposals=self._proposals)

    def init_infers(self) -> dict[str, LesionTask]:
        """Make the three models."""
        return make_infer_tasks(self.infer, self.is_usable)

    def init_trainers(self) -> dict[str, LesionTrainTask]:
        """Make the trainers: none where the server predicts with fixed models."""
        models = self._models
        if isinstance(models, Registry):
            tasks = make_train_tasks(str(self.studies), models.folder)
            self.trainers = Trainers(tasks, models.folder, str(self.studies))
            self.automatic = AutomaticTraining(self._schedule, self.trainers, self.store, models)
            self.history = HistoryPicture(models, self.store)
            self._training_pause = TrainingPause(models.folder, self.predictions.busy)
            return tasks
        if self._schedule.is_on:
            raise ArgumentError(
                "Trainings shall start by themselves (retrain_after, retrain_at), but this server predicts "
                "with fixed models. Leave the models out, so that versions of a registry are used."
            )
        return {}

    def end_trainings(self) -> None:
        """Start no training any more, and end those that run, as the server ends."""
        if self.automatic and self.trainers and self._training_pause:
            self.automatic.close()
            self.trainers.close()
            self._training_pause.close()

    def init_strategies(self) -> dict[str, Strategy]:
        """Make the strategies."""
        strategies = make_strategies(Recommender(self.store, self.scores))
        self.next_cases = NextCases(strategies, self.datastore(), self.worklist, self.scores)
        return strategies

    def init_scoring_methods(self) -> dict[str, ScoringTask]:
        """Make the scoring, which chooses nothing itself: strategies choose by the scores."""
        return {SCORING_METHOD: ScoringTask(self.scores)}

    def scoring_methods(self) -> list[str]:
        """Return the names of the scoring methods."""
        return list(self._scoring_methods)

    def init_batch_infer(self) -> Callable[..., Any]:
        """Make MONAI Label's batch prediction: none, `dermcheck batch` is its better place."""
        return _refuse_batch

    def on_init_complete(self) -> None:
        """Complete the server that this app is started in."""
        from monailabel.app import app as server

        attach(server)
        super().on_init_complete()
        if self.automatic and self._training_pause:
            self.automatic.begin()
            self._training_pause.begin()
        if self._scoring_methods:
            self.scores.begin(automatic=self._auto_update_scoring)

    def async_scoring(self, method: object, params: object = None) -> dict[str, Any]:
        """Look soon for what has no scores; MONAI Label's own would start a process for each of its calls."""
        self.scores.look()
        return {}

    def on_save_label(self, image_id: str, label_id: str) -> None:
        """Take notice of a new label."""
        super().on_save_label(image_id, label_id)
        self.scores.look()

    def infer(self, request: dict[str, Any], datastore: object = None) -> dict[str, Any]:
        """Predict.

        Parameters
        ----------
        request
            `model`; `image`: image id or `SentPhotograph` (never a path); `result_extension`: see
            `Question.form`; `save_label`: whether the prediction is kept beside the photograph, as
            a Segmentation and, with a diagnosis, a Structured Report.
        datastore
            Ignored: there is one.

        Returns
        -------
        dict
            `file` (belongs to the caller), `params`, and MONAI Label's `label` and `tag`.

        Raises
        ------
        DermCheckError
            Of every kind: unknown model or image, unreadable image, unusable weights, bad argument.
        """
        form = wanted_form(request)
        keep = bool(request.get("save_label"))
        reply, kept = self.predict(request.get("image"), request.get("model"), form, keep=keep)
        with tempfile.NamedTemporaryFile(prefix="dermcheck-", suffix=form, delete=False) as file:
            file.write(reply.content)
        return {"label": kept or file.name, "tag": "original", "file": file.name, "params": reply.params}

    def predict(
        self, image: object, model: object, form: str = BROWSER, *, keep: bool = False
    ) -> tuple[Reply, str | None]:
        """Predict, or answer what was answered before for the same content.

        Parameters
        ----------
        image
            Image id, or a `SentPhotograph`.
        model, form, keep
            See `Question`.

        Returns
        -------
        Reply
            In that form.
        str or None
            SOP instance UID of the Segmentation that is kept.

        Raises
        ------
        DermCheckError
            As `infer`.
        """
        question = self._question(image, model, form, keep)
        if (known := None if keep else self._known(question)) is not None:
            return known, None
        started = time.monotonic()
        reply = self.answering.answer(question)
        kept = self._keep(reply) if keep else None
        if not keep:  # the models that answered may no longer be those in use
            self._answers.put(_key(question, reply.models), reply)
        self._remember(question, reply)
        logger.info("%s: %s in %.2f s", question.name, model, time.monotonic() - started)
        return reply, kept

    def known(self, image: str, model: object, form: str = BROWSER) -> Reply | None:
        """Return the answer if it was given before and takes no more than a look at a file.

        Raises
        ------
        DermCheckError
            As `infer`.
        """
        if self.store.path(self.datastore().resolve(image)) is None:  # an archive takes its time
            return None
        return self._known(self._question(image, model, form, keep=False))

    def strategies(self) -> dict[str, Strategy]:
        """Return the strategies by name, the one to use first first."""
        return dict(self._strategies)

    def info(self) -> dict[str, Any]:
        """Describe the app for `/info/`; `model_versions` says which versions predict, and what is wrong."""
        meta: dict[str, Any] = super().info()
        if self.trainers:
            meta["train_stats"] = self.trainers.latest_first(meta["train_stats"])
        if self.automatic:
            meta["automatic_training"] = self.automatic.to_json()
        return meta | {"model_versions": self.model_versions(), "scores": self.scores.progress()}

    def infer_wsi(self, request: dict[str, Any], datastore: object = None) -> dict[str, Any]:
        """Refuse whole-slide requests."""
        raise ArgumentError(
            "DermCheck predicts on whole photographs, not on regions of slides: use /infer/{model}."
        )

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Choose the next photograph for a viewer that reads files, and make its file.

        What the same `client` had before is given back, and comes again when everything else was offered.

        Returns
        -------
        dict
            `id`, `path`, `reason` and `second_reading`; only `detail`, a sentence, if there is none.

        Raises
        ------
        NotFoundError
            If the strategy is unknown.
        """
        client = str(request.get("client") or "")
        self.worklist.leave_all(client)
        offered = frozenset() if request.get("seed") else self.worklist.offered(client)
        unreadable: set[str] = set()
        while True:
            case = self.next_cases.choose(
                request.get("strategy") or "",
                client=client,
                clinician=str(request.get("client_id") or ""),
                skip=offered | unreadable,
                request=request,
                seconds=LONG_LEASE_S,
            )
            if case.image is None:
                if not offered:
                    return {"detail": case.detail}
                self.worklist.forget_offers(client)  # once round
                offered = frozenset()
                continue
            self.worklist.note_offer(client, case.image)
            try:
                path = self.datastore().get_image_uri(case.image)
            except UnreadableImageError as error:
                logger.warning("Passed over: %s", error)
                unreadable.add(case.image)
                self.worklist.leave(case.image, client)
                continue
            return {
                "id": case.image,
                "path": path,
                "reason": case.reason,
                "second_reading": case.second_reading,
            }

    @property
    def answering(self) -> Answering:
        """Whoever predicts: a process of its own in a server, else this one, from the first use on."""
        if self._answering is None:
            self._answering = LocalAnswering(self._models)
        return self._answering

    def server_mode(self, mode: bool) -> None:
        """Begin to serve; MONAI Label calls it once the app is made."""
        super().server_mode(mode)
        if mode and self._answering is None:
            self._answering = AnsweringProcess(self._models)

    def is_usable(self) -> bool:
        """Return whether the models are loaded, or still may be."""
        situation = self.answering.situation()
        return situation is None or situation.error is None

    def model_versions(self) -> dict[str, Any]:
        """Say which `versions` predict by which `backend`, and in words which `problems` there are."""
        situation = self.answering.situation()
        return situation.state if situation else {"versions": {}, "problems": [], "backend": None}

    def _question(self, image: object, model: object, form: str, keep: bool) -> Question:
        if model not in MODELS:
            raise NotFoundError(f"There is no model {model!r}; the models are {', '.join(MODELS)}.")
        if isinstance(image, SentPhotograph):
            if keep:
                raise ArgumentError(
                    f"{image.name}: only predictions on photographs of the studies can be kept. "
                    "Import the photograph first (dermcheck import)."
                )
            return Question(image.name, image.content, str(model), form, is_study=False)
        if not isinstance(image, str) or not image:
            raise ArgumentError("The request names no image: give the id of an image, a session or a file.")
        known = self.datastore().resolve(image)  # it may be called as it was when it was uploaded
        return Question(known, self._content(known), str(model), form, keep=keep)

    def _content(self, image_id: str) -> bytes:
        if path := self.store.path(image_id):
            with open_file(path) as file:
                return file.read()
        dataset = self.store.retrieve(image_id)
        return instance_bytes(dataset, dataset.file_meta.TransferSyntaxUID)

    def _known(self, question: Question) -> Reply | None:
        """Return the answer that the models in use gave before; None too while they are exchanged."""
        situation = self.answering.situation()
        stamp = self._models.stamp() if isinstance(self._models, Registry) else None
        if situation is None or situation.error is not None or situation.stamp != stamp:
            return None
        known = self._answers.get(_key(question, situation.models()))
        if known is not None:
            self._remember(question, known)
        return known

    def _remember(self, question: Question, reply: Reply) -> None:
        """Note what a viewer is shown, so that it can be told what a person changes of it."""
        if question.is_study:
            self._proposals.remember(question.name, question.model, question.form, reply)

    def _keep(self, reply: Reply) -> str:
        """Store a prediction beside its photograph; return the Segmentation's SOP instance UID."""
        datasets = [read_dataset(content) for content in reply.objects]
        for dataset in datasets:
            self.store.store(dataset)
        return str(datasets[0].SOPInstanceUID)

    def _load_sessions(self, load: bool = False) -> PhotographSessions | None:
        if not load:
            return None
        return PhotographSessions(settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY)


def _key(question: Question, models: tuple[tuple[str, str, str], ...]) -> Hashable:
    """Return all that an answer depends on."""
    return question.digest, question.model, question.form, models


def _models(conf: Mapping[str, str]) -> Path | Registry:
    """Find where the models come from."""
    if models := conf.get("models"):
        return Path(models)
    return Registry.open(Path(conf["registry"]) if conf.get("registry") else None)


def _switch_tracking_off() -> None:
    """Keep MLflow from recording trainings; the environment is for MONAI Label's child processes."""
    settings.MONAI_LABEL_TRACKING_ENABLED = False
    os.environ["MONAI_LABEL_TRACKING_ENABLED"] = "false"


def _refuse_batch(*_: object, **__: object) -> None:
    raise ArgumentError("Predict over many photographs with the command `dermcheck batch`.")
