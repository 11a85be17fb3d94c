"""Small models to be examined."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from dermcheck.lesions import CLASSES
from dermcheck.networks import Calibration, InputSpec, ModelCard, build_network, save_model

_MIDDLE = (0.5, 0.5, 0.5)


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """Save untrained networks of the reference models' kinds."""
    folder = tmp_path_factory.mktemp("models")
    for role, task, architecture, geometry in (
        ("classifier", "classification", "densenet121", "centre_square"),
        ("outliner", "segmentation", "unet", "short_side"),
    ):
        classifies = task == "classification"
        card = ModelCard(
            name=f"Test {role}",
            version="1.0",
            task=task,
            architecture=architecture,
            classes=CLASSES if classifies else ("lesion",),
            input=InputSpec(side=64, mean=_MIDDLE, std=_MIDDLE, geometry=geometry),
            calibration=Calibration.identity() if classifies else None,
            data="none, random weights",
            licence="CC0",
            command="none",
        )
        save_model(folder / role, build_network(architecture, task, 0), card)
    return folder


@pytest.fixture
def answering():
    """Run a server that answers everything with this JSON text; gives its port."""

    @contextmanager
    def run(text: str) -> Iterator[int]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield server.server_port
            finally:
                server.shutdown()
                thread.join()

    return run
