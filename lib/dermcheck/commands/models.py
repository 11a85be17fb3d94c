"""`dermcheck models`: which versions of the models there are, which is in use, and why."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dermcheck.errors import ModelError

if TYPE_CHECKING:
    from dermcheck.learning.history import History
    from dermcheck.networks.cards import Task
    from dermcheck.registry import Event, ModelVersion, Registry

__all__ = ["add_model_options", "add_registry_option", "open_registry", "register", "text_table"]

_DESCRIPTION = """\
Show the versions of both models, and choose which of them predict. A training's result is
taken into use by itself only if it passes the gate (see docs/administrator.md); these
commands are for looking on, for deciding otherwise, and for going back.

Versions are never changed or deleted. A running server uses another version from its next
prediction on, without a restart.
"""
_EPILOG = """\
Exit status: 0 done, 1 the work could not be done, 2 wrong arguments.

Example:
  dermcheck models list
  dermcheck models list --picture history.svg --studies ~/studies
  dermcheck models show classification-0002
  dermcheck models rollback classification --reason "misses melanomas on the scalp"
"""
_TASKS: Final[tuple[Task, Task]] = ("classification", "segmentation")
_WIDTH: Final = 100
_LONG_TABLES: Final = ("subgroups", "reliability", "confusion", "sample_pictures")
"""Figures of a card that are for programs and for the reports of `dermcheck evaluate`."""


def add_registry_option(parser: argparse._ActionsContainer) -> None:
    """Add `--registry DIR`, which `open_registry` reads."""
    parser.add_argument(
        "--registry",
        metavar="DIR",
        type=Path,
        help="folder of the versions of the models (default: the environment variable DERMCHECK_MODELS, "
        "else the account's own, which `dermcheck models list` names)",
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add `--registry DIR` and, instead of it, `--models DIR`."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--models",
        metavar="DIR",
        type=Path,
        help="folder with the models `classifier` and `outliner`, to be used in place of any version",
    )
    add_registry_option(group)


def open_registry(arguments: argparse.Namespace) -> Registry:
    """Open the registry that `--registry` names, or the default one.

    Raises
    ------
    ArgumentError
        If the folder named is missing, or is a file.
    """
    from dermcheck.registry import Registry

    folder: Path | None = arguments.registry
    return Registry.open(folder, must_exist=folder is not None)


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "models",
        help="show the versions of the models, take one into use, go back",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _action(actions, "list", "all versions, and which is in use", _list)
    listing.add_argument("task", nargs="?", choices=_TASKS, help="of one task only")
    listing.add_argument(
        "--picture",
        metavar="FILE",
        type=Path,
        help="also draw corrections, figures and decisions (.svg or .png)",
    )
    listing.add_argument(
        "--studies",
        metavar="DIR_OR_URL",
        help="count the corrections of these studies by date, for the picture",
    )
    shown = _action(actions, "show", "all that is known of one version", _show)
    _add_version(shown)
    promoted = _action(actions, "promote", "take a version into use, whatever the gate said", _promote)
    _add_version(promoted)
    promoted.add_argument("--reason", required=True, help="why, for those who ask later")
    back = _action(actions, "rollback", "go back to the version that was in use before", _roll_back)
    back.add_argument("task", choices=_TASKS, help="of which model")
    back.add_argument("--to", metavar="VERSION", help="an earlier one, e.g. reference")
    back.add_argument("--reason", default="by hand", help="why, for those who ask later (%(default)s)")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, words: str, run: Any
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name, help=words, description=f"{words[0].upper()}{words[1:]}.", allow_abbrev=False
    )
    add_registry_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)
    return parser


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", metavar="VERSION", help="e.g. classification-0002, or reference")
    parser.add_argument("--task", choices=_TASKS, help="for `reference`, which each task has")


def _list(arguments: argparse.Namespace) -> int:
    registry = open_registry(arguments)
    tasks = (arguments.task,) if arguments.task else _TASKS
    problems, events = registry.problems(), registry.history()
    answer: dict[str, Any] = {"registry": str(registry.folder), "problems": problems}
    for task in tasks:
        in_use, *earlier = (version.name for version in registry.line_of_use(task))
        answer[task] = {
            "in_use": in_use,
            "rollback_leads_to": earlier,
            "versions": [_summary(version, events, in_use) for version in registry.versions(task)],
        }
    history = _history(events, arguments)
    if arguments.picture is not None:
        from dermcheck.learning.history_picture import save_history

        save_history(history, arguments.picture)
    answer["history"] = [asdict(each) for each in history.decisions if each.task in tasks]
    if arguments.json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return 0
    print(f"Versions in {registry.folder}")
    for task in tasks:
        print(f"\n{task}")
        for summary in answer[task]["versions"]:
            print(_paragraph(summary))
    if any(each.task in tasks for each in history.decisions):
        print("\nHistory (figures on the untouched photographs of fold 9)")
        print(text_table(history.rows(tasks), indent=2))
    for problem in problems:
        print(f"\nProblem: {problem}")
    if arguments.picture is not None:
        print(f"\nPicture: {arguments.picture}")
    return 0


def _history(events: Sequence[Event], arguments: argparse.Namespace) -> History:
    """Gather the history, with the corrections' dates where studies are named."""
    from dermcheck.learning.history import read_history

    if arguments.studies is None:
        return read_history(events)
    from dermcheck.datastore import StudyStore
    from dermcheck.learning.learnt import corrections

    with StudyStore.open(arguments.studies, watch=False) as store:
        return read_history(events, [label.created for label in corrections(store).values()])


def text_table(rows: Sequence[Sequence[str]], indent: int = 0) -> str:
    """Set rows of as many cells each below one another, every column as wide as its longest cell.

    >>> print(text_table([["task", "state"], ["segmentation", "in use"]], indent=2))
      task          state
      segmentation  in use
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(" " * indent + line.rstrip() for line in lines)


def _show(arguments: argparse.Namespace) -> int:
    registry = open_registry(arguments)
    version = registry.find(arguments.version, arguments.task)
    events = [each for each in registry.history() if _concerns(each, version)]
    summary = _summary(version, events, registry.in_use(version.task).name)
    details = {
        "folder": str(version.folder),
        "parent": version.parent,
        "data_fingerprint": version.data_fingerprint,
        "configuration": dict(version.configuration),
        "figures": dict(version.metrics),
        "events": [_event(each) for each in events],
    }
    if arguments.json:
        print(json.dumps(summary | details, indent=2, ensure_ascii=False))
    else:
        print("\n".join(_described(summary, details)))
    return 0


def _promote(arguments: argparse.Namespace) -> int:
    from dermcheck.registry import current_account

    registry = open_registry(arguments)
    version = registry.find(arguments.version, arguments.task)
    event = registry.promote(version, arguments.reason, current_account())
    return _tell(event, arguments)


def _roll_back(arguments: argparse.Namespace) -> int:
    from dermcheck.registry import current_account

    registry = open_registry(arguments)
    event = registry.rollback(arguments.task, current_account(), to=arguments.to, reason=arguments.reason)
    return _tell(event, arguments)


def _tell(event: Event, arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps(_event(event), indent=2, ensure_ascii=False))
    else:
        print(
            f"{event.version} is in use for {event.task} now, instead of {event.details['instead_of']}. "
            "A running server uses it from its next prediction on."
        )
    return 0


def _summary(version: ModelVersion, events: Iterable[Event], in_use: str) -> dict[str, Any]:
    """Say of a version what it is, what came of it, and who decided that, when and why.

    Parameters
    ----------
    events
        All of the registry, read once for all versions: each holds the figures of a card.
    in_use
        Name of the version of the same task that is in use.
    """
    decisions = [each for each in events if each.kind != "submitted" and _concerns(each, version)]
    summary: dict[str, Any] = {
        "version": version.name,
        "task": version.task,
        "state": _state(version.name == in_use, decisions),
        "made_at": version.when,
        "made_by": version.who,
        "sha256": None,
        "damage": None,
        "decision": _event(decisions[-1]) if decisions else None,
    }
    try:
        version.verify()
        summary["sha256"] = version.read_card().sha256
    except ModelError as error:
        summary["damage"] = str(error)
    return summary


def _state(in_use: bool, decisions: Sequence[Event]) -> str:
    if in_use:
        return "in use"
    if any(each.kind != "refused" for each in decisions):
        return "was in use"
    return "refused" if decisions else "never compared"


def _concerns(event: Event, version: ModelVersion) -> bool:
    """Whether an event is about a version, or took it out of use."""
    replaces = event.kind in ("promoted", "rolled back") and event.details.get("instead_of") == version.name
    return event.task == version.task and (event.version == version.name or replaces)


def _event(event: Event) -> dict[str, Any]:
    details = {
        key: value for key, value in event.details.items() if key in ("instead_of", "sha256", "figures")
    }
    return {
        "what": event.kind, "task": event.task, "version": event.version, "at": event.at, "who": event.who,
        "reason": event.reason, **details,
    }  # fmt: skip


def _paragraph(summary: dict[str, Any]) -> str:
    mark = "*" if summary["state"] == "in use" else " "
    lines = [f"{mark} {summary['version']:<22}{summary['state']:<22}{_made(summary)}"]
    if (decision := summary["decision"]) is not None:
        lines += _wrapped(_decided(decision, summary["version"]), indent=4)
    if summary["damage"]:
        lines += _wrapped(f"DAMAGED: {summary['damage']}", indent=4)
    return "\n".join(lines)


def _described(summary: dict[str, Any], details: dict[str, Any]) -> Iterable[str]:
    yield f"{summary['version']} ({summary['task']}), {summary['state']}"
    yield f"  made       {_made(summary)}"
    if details["parent"]:
        yield f"  from       {details['parent']}"
    if details["data_fingerprint"]:
        yield f"  data       {details['data_fingerprint']}"
    yield f"  folder     {details['folder']}"
    yield f"  SHA-256    {summary['sha256'] or 'not as it was'}"
    if summary["damage"]:
        yield from _wrapped(f"DAMAGED: {summary['damage']}", indent=2)
    yield ""
    yield "What happened"
    for event in details["events"]:
        yield from _wrapped(_decided(event, summary["version"]), indent=2)
    if not details["events"]:
        yield "  nothing: it came with DermCheck"
    for name in ("configuration", "figures"):
        if details[name]:
            yield ""
            yield name.capitalize()
            yield from _tree(details[name], indent=2)


def _tree(values: dict[str, Any], indent: int) -> Iterable[str]:
    """Write nested figures as lines, an interval behind its value; long tables are left to `--json`."""
    for name, value in values.items():
        start = f"{' ' * indent}{name:<{max(1, 44 - indent)}}"
        if isinstance(value, dict) and value.keys() == {"value", "interval95"}:
            if value["value"] is not None:
                low, high = value["interval95"]
                yield f"{start} {value['value']:.3f}  [{low:.3f}, {high:.3f}]"
        elif isinstance(value, dict) and name not in _LONG_TABLES:
            yield f"{' ' * indent}{name}"
            yield from _tree(value, indent + 2)
        elif not isinstance(value, dict) and name not in _LONG_TABLES:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{start} {textwrap.shorten(text, _WIDTH, placeholder=' …')}"


def _made(summary: dict[str, Any]) -> str:
    return f"{_when(summary['made_at'])} by {summary['made_by']}" if summary["made_at"] else ""


def _decided(event: dict[str, Any], version: str) -> str:
    """Say in words what happened to a version, when, who did it and why."""
    words = event["what"]
    if event["version"] != version:
        words = f"replaced by {event['version']} ({words})"
    elif "instead_of" in event:
        words += (
            f" against {event['instead_of']}" if words == "refused" else f" instead of {event['instead_of']}"
        )
    return f"{words}, {_when(event['at'])} by {event['who']}: {event['reason']}"


def _when(moment: str) -> str:
    """Write a moment of the log in this computer's time."""
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:  # written by another program, or an empty text
        return moment


def _wrapped(text: str, indent: int) -> list[str]:
    space = " " * indent
    return textwrap.wrap(
        text, _WIDTH, initial_indent=space, subsequent_indent=f"{space}  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
