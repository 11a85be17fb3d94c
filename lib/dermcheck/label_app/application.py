"""DermCheck as MONAI Label sees it: datastore, models, strategies."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp

from dermcheck.datastore import StudyStore
from dermcheck.dicom.author import SOFTWARE_VERSION
from dermcheck.dicom.photograph import read_photograph
from dermcheck.dicom.report import DiagnosisFinding, write_report
from dermcheck.dicom.segmentation import write_segmentation
from dermcheck.dicomweb.service import DicomWebService
from dermcheck.errors import ArgumentError, NotFoundError
from dermcheck.label_app.browser_submissions import SubmissionStore
from dermcheck.label_app.datastore import DermCheckDatastore
from dermcheck.label_app.infer_tasks import (
    DIAGNOSES,
    LESION,
    NOTICE,
    Answer,
    LesionTask,
    check_suffix,
    make_infer_tasks,
)
from dermcheck.label_app.label_map_files import LABEL_MAP_SUFFIXES
from dermcheck.label_app.prediction_queue import PredictionQueue
from dermcheck.label_app.predictor_loader import PredictorLoader
from dermcheck.label_app.server import attach
from dermcheck.label_app.sessions import PhotographSessions
from dermcheck.label_app.source_image import SourceImage
from dermcheck.label_app.strategies import RandomStrategy
from dermcheck.label_app.train_tasks import LesionTrainTask, Trainers, make_train_tasks
from dermcheck.label_app.worklist import Worklist
from dermcheck.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str] | None) -> None:
        _switch_tracking_off()
        conf = conf or {}
        self.predictor = PredictorLoader(_models(conf))
        self.predictions = PredictionQueue()
        self.worklist = Worklist()
        self.examine: Callable[[], list[dict[str, str | None]]] | None = None  # set by who knows the doctor
        self.trainers: Trainers | None = None
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
        self.submissions = SubmissionStore(self.store)
        self.dicomweb = DicomWebService.of(self.store, self.studies)
        for problem in self.store.problems():
            logger.warning("%s", problem)
        return DermCheckDatastore(self.store)

    def init_infers(self) -> dict[str, LesionTask]:
        """Make the three models."""
        return make_infer_tasks(self.predictor)

    def init_trainers(self) -> dict[str, LesionTrainTask]:
        """Make the trainers: none where the server predicts with fixed models."""
        models = _models(self.conf)
        if isinstance(models, Registry):
            tasks = make_train_tasks(str(self.studies), models.folder)
            self.trainers = Trainers(tasks, models.folder, str(self.studies))
            return tasks
        return {}

    def init_strategies(self) -> dict[str, Strategy]:
        """Make the strategies."""
        return {"random": RandomStrategy()}

    def init_batch_infer(self) -> Callable[..., Any]:
        """Make MONAI Label's batch prediction: none, `dermcheck batch` is its better place."""
        return _refuse_batch

    def on_init_complete(self) -> None:
        """Complete the server that this app is started in."""
        from monailabel.app import app as server

        attach(server)
        super().on_init_complete()

    def infer(self, request: dict[str, Any], datastore: object = None) -> dict[str, Any]:
        """Predict.

        Parameters
        ----------
        request
            `model`; `image`: image id or `SourceImage` (never a path); `result_extension`: see
            `LesionTask.write`; `save_label`: whether the prediction is kept beside the photograph, as
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
        task = self._task(request.get("model"))
        suffix = request.get("result_extension") or LABEL_MAP_SUFFIXES[0]
        check_suffix(suffix)
        if (dtype := request.get("result_dtype") or "uint8") != "uint8":
            raise ArgumentError(f"result_dtype is {dtype!r}, expected uint8: label maps hold values 0 to 7.")
        started = time.monotonic()
        image = request.get("image")
        source = self.source_image(image)
        answer = task.answer(source)
        kept = self._keep(answer, source, image) if request.get("save_label") else None
        path = str(task.write(answer, source, suffix))
        logger.info("%s: %s in %.2f s", source.name, request["model"], time.monotonic() - started)
        return {"label": kept or path, "tag": "original", "file": path, "params": answer.params}

    def predict(self, image: object, model: str) -> tuple[SourceImage, Answer]:
        """Predict for a viewer that needs no file; raises as `infer`."""
        task = self._task(model)
        source = self.source_image(image)
        return source, task.answer(source)

    def strategies(self) -> dict[str, Strategy]:
        """Return the strategies by name, the one to use first first."""
        return dict(self._strategies)

    def info(self) -> dict[str, Any]:
        """Describe the app for `/info/`; `model_versions` says which versions predict, and what is wrong."""
        meta: dict[str, Any] = super().info()
        if self.trainers:
            meta["train_stats"] = self.trainers.latest_first(meta["train_stats"])
        return meta | {"model_versions": self.predictor.state()}

    def infer_wsi(self, request: dict[str, Any], datastore: object = None) -> dict[str, Any]:
        """Refuse whole-slide requests."""
        raise ArgumentError(
            "DermCheck predicts on whole photographs, not on regions of slides: use /infer/{model}."
        )

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Choose the next photograph to label; empty if every one has a label.

        Raises
        ------
        NotFoundError
            If the strategy is unknown.
        """
        name = request.get("strategy") or "random"
        if name not in self._strategies:
            raise NotFoundError(
                f"There is no strategy {name!r}; the strategies are {', '.join(self._strategies)}."
            )
        sample: dict[str, Any] = super().next_sample(request)
        return sample

    def source_image(self, image: object) -> SourceImage:
        """Read a photograph by its id, or by the name it was uploaded under.

        Raises
        ------
        NotFoundError
            If no photograph of the studies has this id.
        UnreadableImageError
            If its pixels cannot be read.
        """
        if isinstance(image, SourceImage):
            return image
        if not isinstance(image, str) or not image:
            raise ArgumentError("The request names no image: give the id of an image, a session or a file.")
        known = self.datastore().resolve(image)  # it may be called as it was when it was uploaded
        return SourceImage.from_photograph(read_photograph(self.store.retrieve(known)), known)

    def _task(self, model: object) -> LesionTask:
        task: LesionTask | None = self._infers.get(model)
        if task is None:
            raise NotFoundError(f"There is no model {model!r}; the models are {', '.join(self._infers)}.")
        return task

    def _keep(self, answer: Answer, source: SourceImage, image: object) -> str:
        """Store a prediction beside its photograph; return the Segmentation's SOP instance UID."""
        if source.dataset is None or source is image:
            raise ArgumentError(
                f"{source.name}: only predictions on photographs of the studies can be kept. "
                "Import the photograph first (dermcheck import)."
            )
        segmentation = write_segmentation(source.dataset, [answer.segment], answer.author)
        self.store.store(segmentation)
        if (report := answer.report) is not None:
            finding = DiagnosisFinding.from_mask(
                report.mask, report.probabilities, report.decision, report.uncertainty, report.classifier
            )
            lesion = segmentation.SegmentSequence[0]  # both objects are about the same lesion
            self.store.store(
                write_report(
                    source.dataset, finding, tracking_id=lesion.TrackingID, tracking_uid=lesion.TrackingUID
                )
            )
        return str(segmentation.SOPInstanceUID)

    def _load_sessions(self, load: bool = False) -> PhotographSessions | None:
        if not load:
            return None
        return PhotographSessions(settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY)


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
