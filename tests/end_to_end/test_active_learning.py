"""The queue of a real server: leases among many clinicians, scoring in the background, clear answers."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

PHOTOGRAPHS = 8
SCORING_LIMIT_S = 200


@pytest.fixture(scope="module")
def server(
    start: Callable[..., Any],
    serve_command: list[str],
    free_port: Callable[[], int],
    make_photograph: Callable[..., Any],
    models: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    studies, port = tmp_path_factory.mktemp("studies"), free_port()
    for number in range(PHOTOGRAPHS):
        photograph = make_photograph(120, 90, 50 + number)
        photograph.save_as(studies / f"{number}.dcm", enforce_file_format=True)
    command = [*serve_command, "--studies", str(studies), "--models", str(models), "--port", str(port)]
    return start(command, studies, port)


def test_many_clinicians_at_once_get_different_photographs_and_then_a_clear_answer(server):
    def ask(number: int) -> dict:
        if number % 2:
            path, wanted = "/viewer/next", {"client": f"browser {number}", "strategy": "hybrid"}
        else:
            path, wanted = "/activelearning/random", {"client_id": f"slicer {number}"}
        answer = server.post(path, json=wanted)
        assert answer.ok, answer.text
        return answer.json()

    with ThreadPoolExecutor(PHOTOGRAPHS + 4) as pool:
        answers = list(pool.map(ask, range(PHOTOGRAPHS + 4)))
    handed_out = [found for answer in answers if (found := answer.get("id") or answer.get("image"))]
    assert len(handed_out) == len(set(handed_out)) == PHOTOGRAPHS
    empty = [answer for answer in answers if not (answer.get("id") or answer.get("image"))]
    assert len(empty) == 4
    assert all("are being worked on by others" in answer["detail"] for answer in empty)
    lucky = next(number for number, answer in enumerate(answers) if answer.get("id"))
    again = server.post("/activelearning/random", json={"client_id": f"slicer {lucky}"}).json()
    assert again["id"] == answers[lucky]["id"]  # asking again gives one's own back, and no other is free
    for number, answer in enumerate(answers):
        if number % 2 and answer["image"]:
            given = {"client": f"browser {number}", "image": answer["image"]}
            assert server.request("DELETE", "/viewer/leases", params=given).ok
    assert server.post("/viewer/next", json={"client": "late"}).json()["image"] in handed_out


def test_scoring_runs_in_the_background_and_its_scores_give_the_reasons(server):
    before = server.get("/info/").json()["scores"]
    assert before["state"] in ("loading", "waiting")
    assert before["of"] in (0, PHOTOGRAPHS)
    assert server.post("/scoring/dice").status_code == 404
    assert server.post("/scoring/dermcheck", params={"run_sync": True}).status_code == 400
    assert server.post("/scoring/dermcheck").ok
    limit = time.monotonic() + SCORING_LIMIT_S
    while (progress := server.get("/scoring/").json())["state"] != "complete":
        assert time.monotonic() < limit, progress
        time.sleep(0.2)
    assert (progress["scored"], progress["failed"]) == (PHOTOGRAPHS, 0)
    assert server.get("/info/").json()["scoring"]["dermcheck"]["scored"] == PHOTOGRAPHS
    chosen = server.post("/viewer/next", json={"client": "reader", "strategy": "uncertain"}).json()
    assert "unsure" in chosen["reason"]
    assert not chosen["second_reading"]
    nothing = server.post("/viewer/next", json={"client": "reader", "strategy": "second_reading"}).json()
    assert nothing["image"] is None
    assert nothing["detail"] == "No label waits for a second reading."
    assert server.request("DELETE", "/scoring/").ok
    assert not list(server.studies.rglob("*.sqlite"))
