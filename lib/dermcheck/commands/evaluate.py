"""`dermcheck evaluate`: honest figures of the models, on a data set or on the clinic's corrections."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dermcheck.commands.models import add_model_options, open_registry
from dermcheck.errors import ArgumentError, DermCheckError, NotFoundError, StorageError
from dermcheck.files import replace_file

if TYPE_CHECKING:
    from dermcheck.networks.cards import Task
    from dermcheck.networks.checkpoint import LoadedModel
    from dermcheck.training.data import DataSet
    from dermcheck.training.evaluation.pictures import Picture

__all__ = ["register", "run"]

NOTICE: Final = "Research use only. Not a medical device, not for diagnosis."
_TASKS: Final[tuple[Task, Task]] = ("classification", "segmentation")
_DESCRIPTION = """\
Measure the models in use, or others, on labelled photographs: a data set or your own
corrections. Every figure comes with its 95 % interval. Research use only.

Only photographs that the model has not seen say how good it is. What its card names as
used for training, selecting or calibrating is refused.
"""
_EPILOG = """\
A data set is a folder in the layout of HAM10000, of ISIC 2018 Task 1 or Task 3, or pictures
with a labels.csv (image_id, dx, lesion_id, ...) and masks <image>_segmentation.png.

--report DIR writes report.html, one file with curves, tables and worst cases, and
report.json. The page holds photographs of patients: keep it as carefully as the studies.

Exit status: 0 measured, 1 the work could not be done, 2 wrong arguments or photographs
that the model has seen.

Examples:
  dermcheck evaluate --data HAM10000/ --report figures/
  dermcheck evaluate --data HAM10000/ --robustness
  dermcheck evaluate --studies ~/studies --model classification-0002
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure the models on labelled photographs they have not seen",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data", metavar="DIR", type=Path, action="append", default=[],
        help="data set to measure on; may be given several times",
    )  # fmt: skip
    parser.add_argument("--masks", metavar="DIR", type=Path, help="folder with the masks, if it is another")
    parser.add_argument(
        "--diagnoses", metavar="CSV", type=Path, help="table of diagnoses, if it is elsewhere"
    )
    parser.add_argument(
        "--studies", metavar="DIR_OR_URL", help="studies with corrections, a folder or DICOMweb address"
    )
    parser.add_argument(
        "--folds", metavar="N[,N...]", type=_folds,
        help="folds to measure on, 0 to 9 (default: those that the model has not seen)",
    )  # fmt: skip
    parser.add_argument("--task", choices=_TASKS, help="measure only this (default: all that is labelled)")
    parser.add_argument(
        "--model", metavar="VERSION", action="append", default=[],
        help="version to measure in place of the one in use; see `dermcheck models list`",
    )  # fmt: skip
    add_model_options(parser)
    parser.add_argument(
        "--robustness", action="store_true",
        help="also measure whether the answers stay when photographs are turned, shifted, lit otherwise, "
        "covered by hair ...; takes about 20 times as long",
    )  # fmt: skip
    parser.add_argument("--report", metavar="DIR", type=Path, help="folder for report.html and report.json")
    parser.add_argument(
        "--accept-seen", action="store_true",
        help="measure photographs that the model has seen; the report says so in its title",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON, and no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print what was found.

    Raises
    ------
    ArgumentError
        If arguments contradict each other, or name folds that a model has seen.
    DermCheckError
        If data or models cannot be used.
    """
    if not arguments.data and not arguments.studies:
        raise ArgumentError(
            "Measure on what? Name a data set (--data DIR), or studies with corrections (--studies "
            "DIR_OR_URL)."
        )
    if arguments.report and arguments.report.exists() and not arguments.report.is_dir():
        raise ArgumentError(f"{arguments.report}: this is a file, expected a folder for the report.")
    try:
        from dermcheck.training.allocator import keep_freed_memory
        from dermcheck.training.evaluation.page import write_page
    except ImportError as error:
        raise DermCheckError(
            f"The packages for measuring cannot be imported ({error}). Run `dermcheck doctor` to see why."
        ) from error
    keep_freed_memory()
    with _opened(arguments) as data_set:
        models = _models(arguments)
        measured = _Measurement(arguments, data_set, _outliner(arguments, models))
        if arguments.robustness and len(models) < len(_TASKS):
            raise ArgumentError(
                "--robustness measures a classifier and an outliner together: leave out --task, and name a "
                "version of both or of none with --model."
            )
        for task, model in models.items():
            measured.add(task, model)
        if arguments.robustness:
            measured.add_robustness(models)
        report = measured.report()
    if arguments.report:
        page = write_page(report, measured.pictures, measured.cases)
        _save(arguments.report, report, page)
    print(
        json.dumps(report, indent=2, ensure_ascii=False) if arguments.json else _in_words(report, arguments)
    )
    return 0


class _Measurement:
    """What is measured of each task, collected."""

    def __init__(self, arguments: argparse.Namespace, opened: DataSet, outliner: LoadedModel | None) -> None:
        from dermcheck.datastore.locations import cache_root
        from dermcheck.training.data import identify
        from dermcheck.training.evaluation.seen import sources_with_folds

        self._arguments = arguments
        self._outliner = outliner
        self._own_folds = sources_with_folds(opened)
        self._data_set = identify(opened, cache_root() / "training", progress=not arguments.json)
        self._warnings: list[str] = []
        self._folds: set[int] = set()
        self._allowed: list[set[int]] = []
        self._models: dict[str, Any] = {}
        self._reports: dict[str, Any] = {}
        self._without: list[str] = []
        self.pictures: dict[str, list[Picture]] = {}
        self.cases: dict[str, list[Picture]] = {}

    def add(self, task: Task, model: LoadedModel) -> None:
        """Measure one model, if the data have labels of its task."""
        from dermcheck.training.evaluation.answers import NothingToAnswerError
        from dermcheck.training.evaluation.seen import SeenDataError, reasons_against, untouched_folds

        card = model[1]
        folds = self._arguments.folds or untouched_folds(card, self._data_set)
        reasons = reasons_against(card, self._data_set, folds, self._own_folds)
        if reasons and not self._arguments.accept_seen:
            sentence = "; ".join(reasons)
            sentence = sentence[0].upper() + sentence[1:]
            raise SeenDataError(
                f"{sentence}. Figures from there would be too good. Measure on other photographs or folds, "
                "or accept it with --accept-seen; the report then says so."
            )
        self._allowed.append(set(folds))
        try:
            self._measure(task, model, folds)
        except NothingToAnswerError as error:
            self._without.append(str(error))
            return
        self._warnings += reasons
        self._folds |= set(folds)
        self._models[task] = {
            name: getattr(card, name) for name in ("name", "version", "architecture", "sha256")
        }

    def add_robustness(self, models: dict[Task, LoadedModel]) -> None:
        """Measure how the answers of both models hold on changed photographs, for the tasks in the report."""
        from dermcheck.inference import Predictor
        from dermcheck.training.evaluation.robustness import answer_perturbed, robustness_report

        predictor = Predictor(models["classification"], models["segmentation"])
        folds = sorted(set.intersection(*self._allowed))
        answers = answer_perturbed(predictor, self._data_set, folds, progress=not self._arguments.json)
        for task in _TASKS:
            if task in self._reports:
                self._reports[task]["robustness"] = robustness_report(answers, task)

    def report(self) -> dict[str, Any]:
        """Return everything as JSON.

        Raises
        ------
        DermCheckError
            If nothing could be measured.
        """
        if not self._models:
            raise DermCheckError(" ".join(self._without))
        title = "DermCheck: figures on photographs that the models have not seen"
        if self._warnings:
            title = "DermCheck: figures on photographs that the models may have seen (no honest measurement)"
        return {
            "title": title,
            "notice": NOTICE,
            "honest": not self._warnings,
            "warnings": list(dict.fromkeys(self._warnings)),
            "data": self._data_set.name,
            "data_problems": list(self._data_set.problems),
            "folds": sorted(self._folds),
            "models": self._models,
            **self._reports,
        }

    def _measure(self, task: Task, model: LoadedModel, folds: Sequence[int]) -> None:
        from dermcheck.training.evaluation import classify_photographs, outline_photographs
        from dermcheck.training.evaluation.cases import draw_worst_diagnoses, draw_worst_outlines
        from dermcheck.training.evaluation.pictures import draw_classification, draw_outlines
        from dermcheck.training.evaluation.reports import classification_report, outline_report

        data, bar, drawn = self._data_set, not self._arguments.json, self._arguments.report is not None
        if task == "classification":
            answers = classify_photographs(model, data, folds, outliner=self._outliner, progress=bar)
            self._reports[task] = classification_report(answers, model[1].rules)
            if drawn:
                self.pictures[task] = draw_classification(answers)
                self.cases[task] = draw_worst_diagnoses(answers, data)
            return
        outlined = outline_photographs(model, data, folds, progress=bar)
        self._reports[task] = outline_report(outlined)
        if drawn:
            self.pictures[task] = draw_outlines(outlined)
            self.cases[task] = draw_worst_outlines(outlined, data, model)


@contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[DataSet]:
    """Open all data, joined; the photographs can be read while the block runs."""
    import functools
    import operator
    from contextlib import ExitStack

    from dermcheck.datastore import StudyStore
    from dermcheck.datastore.locations import without_password
    from dermcheck.training.data import open_corrections, open_data_set

    if len(arguments.data) != 1 and (arguments.masks or arguments.diagnoses):
        raise ArgumentError("--masks and --diagnoses belong to one data set: give --data once with them.")
    with ExitStack() as opened:
        data_sets = [
            open_data_set(folder, masks=arguments.masks, diagnoses=arguments.diagnoses)
            for folder in arguments.data
        ]
        if arguments.studies:
            store = opened.enter_context(StudyStore.open(arguments.studies, watch=False))
            corrections = open_corrections(store, progress=not arguments.json)
            if not corrections.photographs:
                raise NotFoundError(
                    f"{without_password(arguments.studies)}: nobody has corrected a photograph of these "
                    "studies yet. Submit some final labels first, or name a data set (--data DIR)."
                )
            data_sets.append(corrections)
        yield functools.reduce(operator.add, data_sets)


def _models(arguments: argparse.Namespace) -> dict[Task, LoadedModel]:
    """Load what shall be measured, by task."""
    from dermcheck.registry.versions import folder_version

    tasks: tuple[Task, ...] = (arguments.task,) if arguments.task else _TASKS
    if arguments.models:
        if arguments.model:
            raise ArgumentError("--model names a version of the registry: leave out --models, or --model.")
        return {task: folder_version(arguments.models, task).load() for task in tasks}
    registry = open_registry(arguments)
    if not arguments.model:
        return {task: registry.in_use(task).load() for task in tasks}
    chosen: dict[Task, LoadedModel] = {}
    for name in arguments.model:
        version = registry.find(name, arguments.task)
        if version.task in chosen:
            raise ArgumentError(
                f"--model names two versions for {version.task}: measure one after the other."
            )
        chosen[version.task] = version.load()
    return chosen


def _outliner(arguments: argparse.Namespace, models: dict[Task, LoadedModel]) -> LoadedModel | None:
    """Load what shows a classifier where to look closer: the outliner measured, else the one in use.

    None where no classifier is measured that looks closer.
    """
    from dermcheck.registry.versions import folder_version

    if "segmentation" in models or not models["classification"][1].input.closer_look:
        return models.get("segmentation")
    if arguments.models:
        return folder_version(arguments.models, "segmentation").load()
    return open_registry(arguments).in_use("segmentation").load()


def _save(folder: Path, report: dict[str, Any], page: str) -> None:
    contents = {"report.json": json.dumps(report, indent=2, ensure_ascii=False) + "\n", "report.html": page}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            replace_file(folder / name, text)
    except OSError as error:
        raise StorageError(
            f"{folder}: the report cannot be saved ({error.strerror}). Make room, or choose another folder."
        ) from error


def _in_words(report: dict[str, Any], arguments: argparse.Namespace) -> str:
    lines = [report["title"], report["notice"], f"Data: {report['data']}, folds {report['folds']}"]
    lines += [f"Warning: {sentence}." for sentence in report["warnings"]]
    for task, model in report["models"].items():
        measured = report[task]
        lines.append(
            f"\n{task}: {model['name']} {model['version']}, {measured['images']} photographs of "
            f"{measured['lesions']} lesions"
        )
        for section in ("figures", "operating_points", "not_sure", "possible_classes", "lesion_photograph"):
            lines += [f"  {_line(name, figure)}" for name, figure in measured.get(section, {}).items()]
        lines += _robustness_in_words(measured["robustness"]) if "robustness" in measured else []
        lines += [f"  left out: {sentence}" for sentence in measured["problems"]]
    lines.append("\nIntervals are 95 % bootstrap intervals over lesions.")
    if arguments.report:
        lines.append(f"Page with curves, subgroups and worst cases: {arguments.report / 'report.html'}")
    return "\n".join(lines)


def _robustness_in_words(robustness: dict[str, Any]) -> list[str]:
    """Say how the one figure with an aim holds under each change."""
    figure, least = robustness["aim"]["figure"], robustness["aim"]["least"]
    lines = [f"  {figure.replace('_', ' ')}, at least {least} under everyday changes:"]
    for group in ("everyday", "difficult"):
        lines += [f"    {_line(name, found[figure])}" for name, found in robustness[group].items()]
    return lines


def _line(name: str, figure: dict[str, Any]) -> str:
    words = name.replace("_", " ")
    if figure["value"] is None:
        return f"{words:45}     –  (no such photographs)"
    low, high = figure["interval95"]
    return f"{words:45} {figure['value']:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")


def _folds(text: str) -> tuple[int, ...]:
    try:
        folds = tuple(sorted({int(number) for number in text.split(",")}))
    except ValueError:
        folds = ()
    if not folds or not all(0 <= fold <= 9 for fold in folds):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of folds, expected for example 9 or 0,1,2")
    return folds
