"""What a clinic sees of the process that predicts: when it is killed, and when the server ends meanwhile."""

import io
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

LIMIT_S = 120


@pytest.fixture
def stock_server(
    start: Callable[..., Any], free_port: Callable[[], int], models: Path, repository: Path, tmp_path: Path
) -> Any:
    """A server by MONAI Label's own command, which knows nothing of our process."""
    place, port = tmp_path / "place", free_port()
    (place / "studies").mkdir(parents=True)
    (place / "apps/dermcheck").mkdir(parents=True)
    shutil.copy(repository / "apps/dermcheck/main.py", place / "apps/dermcheck/main.py")
    command = ["monailabel", "start_server", "--app", "apps/dermcheck", "--studies", "studies"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--conf", "models", str(models)]
    return start([*command, *options], place / "studies", port, cwd=place)


@pytest.fixture
def predict(stock_server: Any, draw_photo: Callable[..., Any]) -> Callable[[int], requests.Response]:
    """Ask about a photograph of its own."""

    def ask(number: int) -> requests.Response:
        photograph = io.BytesIO()
        draw_photo(600, 450, number).save(photograph, "JPEG")
        files = {"file": ("photo.jpg", photograph.getvalue())}
        return stock_server.post("/infer/dermcheck?output=json", files=files)

    return ask


@pytest.fixture
def always_predicting(predict: Callable[[int], requests.Response]) -> Iterator[list[int]]:
    """Ask again and again; note the answers' statuses, 0 where the server has gone."""
    statuses: list[int] = []
    ended = threading.Event()

    def ask(number: int) -> None:
        while not ended.is_set():
            number += 2
            try:
                statuses.append(predict(number).status_code)
            except requests.ConnectionError:
                statuses.append(0)
                ended.wait(0.1)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    yield statuses
    ended.set()
    for thread in threads:
        thread.join()


def wait_until(reached: Callable[[], object]) -> None:
    until = time.monotonic() + LIMIT_S
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.05)


def predicting_process(server: Any) -> psutil.Process:
    """Find the process that predicts among the server's."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    [found] = [child for child in children if "dermcheck.label_app.answering_child" in child.cmdline()]
    return found


def test_killed_it_is_started_again_and_a_server_that_ends_while_it_predicts_ends_cleanly(
    stock_server, predict, always_predicting
):
    wait_until(lambda: always_predicting.count(200) > 2)
    first = predicting_process(stock_server)
    first.suspend()  # whatever is asked from now on waits for it
    time.sleep(3)
    first.kill()
    wait_until(lambda: 503 in always_predicting)
    answered = always_predicting.count(200)
    wait_until(lambda: always_predicting.count(200) > answered + 2)
    assert set(always_predicting) == {200, 503}
    assert "has ended (SIGKILL: the system does this where memory runs out)" in stock_server.log.read_text()

    second = predicting_process(stock_server)
    assert second.pid != first.pid
    second.parent().send_signal(signal.SIGINT)  # as Ctrl-C does, while it predicts
    status = stock_server.process.wait(60)
    assert status not in (-signal.SIGABRT, 128 + signal.SIGABRT, -signal.SIGSEGV, 128 + signal.SIGSEGV)
    wait_until(lambda: not second.is_running())
    for word in ("Aborted", "terminate called", "core dumped", "Segmentation fault"):
        assert word not in stock_server.log.read_text()
