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

__all__ = ["probe_models", "probe_processor", "probe_server"]


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
    else:
        answer = {"processor": probe_processor, "server": probe_server}[name]()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
