"""Runs in a child process (`python -m dermcheck.doctor.probe NAME`) and prints its answer as JSON.

A probe that cannot do its work ends with a traceback: `dermcheck.doctor.parts` shows its last line.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

if TYPE_CHECKING:
    from dermcheck.inference.predictor import Predictor
    from dermcheck.networks.cards import Task
    from dermcheck.registry import Registry

__all__ = ["probe_backend", "probe_models", "probe_processor", "probe_registry", "probe_server"]

_RESTORE: Final = (
    "What is in use works without these files. To have them again, restore the folder from the back-up."
)


def probe_processor() -> str:
    """Describe what torch computes on."""
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 1024**3
        return f"GPU {torch.cuda.get_device_name(0)}, {memory:.0f} GiB, torch {torch.__version__}"
    capabilities = torch.cpu.get_capabilities()
    fast = [name for name in ("amx_bf16", "avx512_bf16", "avx512_f", "avx2") if capabilities.get(name)]
    kind = f"{platform.machine()}, {', '.join(fast) or 'no vector extension that speeds torch up'}"
    return f"CPU, {os.cpu_count()} cores ({kind}), torch {torch.__version__}; no GPU that torch can use"


def probe_models(folder: Path) -> list[dict[str, str | None]]:
    """Load each model by its card and hash, as the server does."""
    from dermcheck.errors import ModelError
    from dermcheck.networks import load_model

    findings: list[dict[str, str | None]] = []
    for role in ("classifier", "outliner"):
        name = f"Model {role}"
        try:
            _, card = load_model(folder / role)
        except ModelError as error:
            advice = "Get DermCheck's files anew, or name another folder with --models."
            findings.append({"name": name, "found": str(error), "advice": advice})
        else:
            found = f"{card.name} {card.version}, SHA-256 {card.sha256[:12]}… as on its card"
            findings.append({"name": name, "found": found, "advice": None})
    return findings


def probe_registry(folder: Path | None) -> list[dict[str, str | None]]:
    """Load what the registry says is in use, and check the files of every other version.

    Parameters
    ----------
    folder
        None for the default one.
    """
    from dermcheck.errors import DermCheckError
    from dermcheck.networks.cards import Task
    from dermcheck.registry import Registry

    try:
        registry = Registry.open(folder, must_exist=folder is not None)
        problems = registry.problems()
        findings = [_in_use(registry, task) for task in get_args(Task)]
        problems += [sentence for task in get_args(Task) for sentence in _damaged(registry, task)]
    except DermCheckError as error:
        advice = "Mend the folder, or name another one with --registry."
        return [{"name": "Registry of models", "found": str(error), "advice": advice}]
    well = "all files are as they were" if registry.folder.exists() else "nothing was trained yet"
    found = " ".join(problems) or f"{registry.folder}: {well}"
    return [
        *findings,
        {"name": "Registry of models", "found": found, "advice": _RESTORE if problems else None},
    ]


def _in_use(registry: Registry, task: Task) -> dict[str, str | None]:
    from dermcheck.errors import ModelError

    version, name = registry.in_use(task), f"Model for {task}"
    try:
        _, card = version.load()
    except ModelError as error:
        back = f"The version before it answers. Make that official: dermcheck models rollback {task}."
        advice = "Get DermCheck's files anew." if version.is_reference else back
        return {"name": name, "found": str(error), "advice": advice}
    found = f"{card.name} {card.version}, SHA-256 {card.sha256[:12]}… as on its card"
    return {"name": name, "found": found, "advice": None}


def _damaged(registry: Registry, task: Task) -> list[str]:
    """Say which versions that are not in use have changed."""
    from dermcheck.errors import ModelError

    current, sentences = registry.in_use(task).name, []
    for version in registry.versions(task):
        if version.name != current:
            try:
                version.verify()
            except ModelError as error:
                sentences.append(str(error))
    return sentences


def probe_backend(models: Path | None, registry_folder: Path | None) -> dict[str, str | None]:
    """Open the models as a prediction does, which exports them where that is still to be done.

    Parameters
    ----------
    models
        Folder with ``classifier`` and ``outliner``; None for what the registry has in use.
    registry_folder
        None for the default one.
    """
    import logging
    from io import StringIO

    from dermcheck.errors import ArgumentError, DermCheckError
    from dermcheck.inference.priors import clinic_prior

    try:
        clinic_prior()
    except ArgumentError as error:
        return {
            "found": str(error),
            "advice": "Nothing is predicted before that is corrected, or the variable unset.",
        }
    told = StringIO()
    warnings = logging.StreamHandler(told)
    warnings.setLevel(logging.WARNING)
    logging.getLogger("dermcheck.inference").addHandler(warnings)
    try:
        predictor = _open_predictor(models, registry_folder)
    except DermCheckError:  # the finding about the models says it
        return {"found": "the models cannot be opened, see above", "advice": None}
    finally:
        logging.getLogger("dermcheck.inference").removeHandler(warnings)
    problem = " ".join(told.getvalue().split())
    found = f"{predictor.backend}. {problem}" if problem else predictor.backend
    advice = "Predictions work, but slowly. Install what is named, or unset DERMCHECK_BACKEND."
    return {"found": found, "advice": advice if problem else None}


def _open_predictor(models: Path | None, registry_folder: Path | None) -> Predictor:
    from dermcheck.inference.predictor import Predictor
    from dermcheck.inference.priors import clinic_prior
    from dermcheck.registry import Registry
    from dermcheck.registry.serving import load_serving

    if models is not None:
        return Predictor.load(models, natural_prior=clinic_prior())
    return load_serving(Registry.open(registry_folder, must_exist=registry_folder is not None)).predictor


def probe_server() -> str:
    """Import the app and with it MONAI Label."""
    import dermcheck.label_app.application  # noqa: F401

    return (
        f"MONAI Label {metadata.version('monailabel')} and DermCheck {metadata.version('dermcheck')} import"
    )


def main() -> None:
    """Answer one question."""
    name, *arguments = sys.argv[1:]
    if name == "models":
        answer: object = probe_models(Path(arguments[0]))
    elif name == "registry":
        answer = probe_registry(Path(arguments[0]) if arguments else None)
    elif name == "backend":
        kind, *folder = arguments
        chosen = Path(folder[0]) if folder else None
        answer = probe_backend(chosen, None) if kind == "models" else probe_backend(None, chosen)
    else:
        answer = {"processor": probe_processor, "server": probe_server}[name]()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
