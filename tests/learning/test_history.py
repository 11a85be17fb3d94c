"""The history of the models: gathered from the registry's log, as a table, and as a picture."""

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from PIL import Image

from dermcheck.errors import ArgumentError, StorageError
from dermcheck.learning.history import History, read_history
from dermcheck.learning.history_picture import draw_history, save_history
from dermcheck.registry.events import Event

START = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def event(day: float, kind: str, version: str, **details) -> Event:
    at = (START + timedelta(days=day)).isoformat()
    task = version.rpartition("-")[0] or "classification"
    return Event(at=at, kind=kind, task=task, version=version, who="anna", reason="why", details=details)


def figures(candidate: float, current: float) -> dict:
    accuracy = {"candidate": candidate, "current": current, "low": candidate - current - 0.02}
    melanomas = {"candidate_found": 12, "current_found": 11, "photographs": 14}
    return {"balanced_accuracy": accuracy, "melanoma_sensitivity": melanomas}


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """Version 1 comes into use, 2 is refused, 3 comes and is given up; an outliner without figures."""
    entry = {"configuration": {"corrections_learnt": 50}}
    first, second, third = (f"classification-000{number}" for number in (1, 2, 3))
    return [
        event(0, "submitted", first, entry=entry),
        event(0.1, "promoted", first, instead_of="reference", figures=figures(0.70, 0.68)),
        event(2, "submitted", second),
        event(2.1, "refused", second, instead_of=first, figures=figures(0.66, 0.70)),
        event(4, "submitted", third),
        event(4.1, "promoted", third, instead_of=first, figures=figures(0.75, 0.71)),
        event(5, "rolled back", first, instead_of=third),
        event(6, "submitted", "segmentation-0001"),
        event(6.1, "refused", "segmentation-0001", instead_of="reference"),
    ]


@pytest.fixture(scope="module")
def history(events) -> History:
    days = (0, 3, 1)
    return read_history(events, [datetime(2026, 5, 1) + timedelta(days=day) for day in days] + [datetime.min])


def test_each_decision_is_told_with_its_figures(history):
    first, second, _, back = history.of("classification")
    assert (first.what, first.corrections, first.candidate, first.current) == ("promoted", 50, 0.70, 0.68)
    assert (first.melanomas_found, first.melanomas_found_before, first.melanomas) == (12, 11, 14)
    assert (second.what, second.corrections) == ("refused", None)
    assert (back.what, back.candidate) == ("rolled back", None)
    assert [each.what for each in history.of("segmentation")] == ["refused"]


def test_the_line_of_the_model_in_use_follows_promotions_and_ways_back(history):
    """After the way back, the first version has the figure that it had when it was measured last."""
    assert [value for _, value in history.in_use("classification")] == [0.70, 0.70, 0.75, 0.71]
    assert history.in_use("segmentation") == []


def test_corrections_are_in_order_and_unknown_dates_left_out(history):
    assert [text[:10] for text in history.corrected] == ["2026-05-01", "2026-05-02", "2026-05-04"]


def test_it_survives_json(history):
    assert History.from_json(history.to_json()) == history


def test_the_table_has_one_row_a_decision_of_the_tasks_asked_for(history):
    assert len(history.rows(["classification", "segmentation"])) == 6
    head, row = history.rows(["segmentation"])
    assert dict(zip(head, row, strict=True)) == {
        "when": row[0], "version": "segmentation-0001", "learnt from": "", "figure": "", "before": "",
        "melanomas found": "", "decision": "refused",
    }  # fmt: skip


def test_the_picture_shows_every_decision_at_its_figure(history):
    top, middle, bottom = draw_history(history).axes
    points = {
        collection.get_label(): [round(float(y), 3) for _, y in collection.get_offsets()]
        for collection in top.collections
    }
    assert points == {"taken into use": [0.70, 0.75], "refused": [0.66], "gone back to": [0.71]}
    (line,) = top.lines
    assert list(line.get_ydata()) == [0.68, 0.70, 0.70, 0.75, 0.71, 0.71]
    assert [line.get_label() for line in middle.lines] == ["decided without figures"]
    assert list(bottom.lines[0].get_ydata()) == [0, 1, 2, 3, 3]


@pytest.mark.parametrize("name", ["history.svg", "history.PNG"])
def test_it_is_written_whole(history, tmp_path, name):
    path = tmp_path / name
    save_history(history, path)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    if path.suffix == ".svg":
        assert path.read_text().rstrip().endswith("</svg>")
    else:
        assert Image.open(path).size[0] > 500


def test_without_any_version_it_says_so(tmp_path):
    figure = draw_history(History())
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == [
        "No further version yet", "No further version yet", "None known",
    ]  # fmt: skip


def test_what_an_older_or_newer_dermcheck_wrote_is_passed_over():
    odd = [
        event(0, "submitted", "classification-0001", entry={"configuration": {"corrections_learnt": "many"}}),
        event(1, "promoted", "classification-0001", figures={"balanced_accuracy": 3}),
        event(2, "refused", "classification-0002", figures=None),
    ]
    history = read_history(odd)
    assert [each.candidate for each in history.decisions] == [None, None]
    draw_history(history)


def test_other_endings_and_other_places_are_refused_in_words(history, tmp_path):
    with pytest.raises(ArgumentError, match=r"written as \.svg or \.png"):
        save_history(history, tmp_path / "history.jpg")
    with pytest.raises(StorageError, match="the picture cannot be written"):
        save_history(history, tmp_path / "missing" / "history.svg")


def test_the_program_draws_what_it_reads_and_needs_no_torch(history):
    code = (
        "import sys; from dermcheck.learning.history_picture import main; main(); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(history.to_json()).encode(),
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"<?xml")
    assert b"</svg>" in done.stdout
