"""Models are promoted, rolled back and damaged while a real server predicts without a pause."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from dermcheck.registry import ModelVersion, Registry

CLIENTS = 2
LIMIT_S = 60


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.open(tmp_path / "registry")


@pytest.fixture
def submit(registry: Registry, models: Path) -> Callable[[str], ModelVersion]:
    """Submit one of the two models as a version."""

    def run(role: str) -> ModelVersion:
        return registry.submit(models / role, parent=None, data_fingerprint="", configuration={}, who="test")

    return run


@pytest.fixture
def server(
    start: Callable[..., Any],
    serve_command: list[str],
    free_port: Callable[[], int],
    fill_studies: Callable[[Path], None],
    tmp_path: Path,
    registry: Registry,
    submit: Callable[[str], ModelVersion],
) -> Any:
    """A server whose registry has versions classification-0001 and segmentation-0001 in use."""
    for role in ("classifier", "outliner"):
        registry.promote(submit(role), "for the test", "test")
    studies, port = tmp_path / "studies", free_port()
    studies.mkdir()
    fill_studies(studies)
    options = ["--studies", str(studies), "--registry", str(registry.folder), "--port", str(port)]
    return start([*serve_command, *options], studies, port)


class Clients:
    """Viewers that ask for one prediction after another, without a pause."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        images = requests.get(f"{address}/datastore/", params={"output": "all"}, timeout=60).json()["objects"]
        self._running = [self._pool.submit(self._ask, name) for name in list(images)[:CLIENTS]]
        self.answers: list[tuple[float, int, dict[str, Any]]] = []
        """When each request began, its status and its content."""

    def _ask(self, image: str) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            options = {"image": image, "output": "json"}
            found = requests.post(f"{self._address}/infer/dermcheck", params=options, timeout=120)
            self.answers.append((began, found.status_code, found.json()))

    def wait_for(self, version: str) -> None:
        """Wait until a version has answered once more."""
        before, until = len(self.answers), time.monotonic() + LIMIT_S
        while all(named(params) != version for _, _, params in self.answers[before:]):
            assert time.monotonic() < until, f"{version} does not answer"
            time.sleep(0.02)

    def end(self) -> None:
        """Let the last requests end."""
        self._stop.set()
        self._pool.shutdown()
        for each in self._running:
            each.result()


def named(params: dict[str, Any]) -> str:
    return str(params.get("models", {}).get("classifier", {}).get("version"))


def test_no_request_fails_while_versions_come_and_go_and_each_answer_names_its_own(server, registry, submit):
    first, second, damaged = registry.in_use("classification"), submit("classifier"), submit("classifier")
    clients = Clients(server.address)
    in_use: list[tuple[float, str]] = []

    def now_in_use(version: ModelVersion) -> None:
        in_use.append((time.monotonic(), version.name))
        clients.wait_for(version.name)

    now_in_use(first)
    for _ in range(3):
        registry.promote(second, "for the test", "test")
        now_in_use(second)
        registry.rollback("classification", "test")
        now_in_use(first)
    registry.promote(second, "for the test", "test")
    now_in_use(second)

    weights = damaged.folder / "weights.safetensors"
    sound = weights.read_bytes()
    registry.promote(damaged, "for the test", "test")
    in_use.append((time.monotonic(), damaged.name))
    clients.wait_for(damaged.name)
    registry.rollback("classification", "test")
    now_in_use(second)
    promotion = registry.history()[-2]
    weights.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    with (registry.folder / "events.jsonl").open("a") as log:  # `promote` itself would see the damage
        log.write(promotion.to_line())
    clients.wait_for(second.name)
    clients.wait_for(second.name)
    clients.end()

    assert {status for _, status, _ in clients.answers} == {200}
    assert {named(params) for *_, params in clients.answers} == {first.name, second.name, damaged.name}
    assert {params["models"]["outliner"]["version"] for *_, params in clients.answers} == {
        "segmentation-0001"
    }
    for began, _, params in clients.answers[CLIENTS:]:
        # What came into use while the request ran may answer it; what was replaced before must not.
        replaced = [name for at, name in in_use if at <= began][:-1]
        since = [name for at, name in in_use if at <= began][-1:] + [
            name for at, name in in_use if at > began
        ]
        assert named(params) in since, (replaced, since)

    state = server.get("/info/").json()["model_versions"]
    assert registry.in_use("classification").name == damaged.name
    assert state["versions"]["classification"]["version"] == second.name
    assert f"{damaged.name} cannot be used for classification: {weights}: the SHA-256" in state["problems"][0]
    assert state["problems"][1] == f"{second.name} answers instead for classification."
    assert state["problems"][0] in server.log.read_text()
