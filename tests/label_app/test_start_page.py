"""The start page over real studies."""

from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest

from dermcheck.dicom.author import Clinician
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.errors import StorageError
from dermcheck.label_app.automatic_training import TaskPlan
from dermcheck.label_app.start_page import HEADERS, render_start_page, spoken_language
from dermcheck.label_app.start_page_texts import TEXTS
from dermcheck.label_app.worklist import Worklist
from dermcheck.learning.schedule import Attempt, Schedule, Standing, decide
from dermcheck.lesions import lesion_class


def versions(*problems):
    """What the app says of its models."""
    version = {"name": "Test <classifier>", "version": "1.0", "sha256": "0"}
    return lambda: {"versions": {"classification": version}, "problems": list(problems), "backend": None}


@pytest.fixture
def app(store):
    """As much of the app as the page looks at."""
    return SimpleNamespace(
        store=store, model_versions=versions(), worklist=Worklist(), examine=None, automatic=None
    )


@pytest.fixture
def label(store):
    def make(image, name):
        photograph = store.retrieve(image)
        mask = np.ones((photograph.Rows, photograph.Columns), bool)
        segment = LesionSegment(mask, lesion_class("nv"))
        store.store(write_segmentation(photograph, [segment], Clinician(name)))

    return make


def test_the_list_follows_the_labels(app, store, label):
    first = store.image_ids()[0]
    label(first, "Dr <b>Bold</b>")
    to_do = render_start_page(app, "en")
    assert to_do.count("<tr><td>") == 2
    assert f"image={first}" not in to_do
    assert "1 of 3 photographs are labelled, 2 are left." in to_do
    done = render_start_page(app, "en", "done")
    assert done.count("<tr><td>") == 1
    assert "labelled by Dr &lt;b&gt;Bold&lt;/b&gt;" in done
    assert render_start_page(app, "en", "all").count("<tr><td>") == 3


def test_who_has_a_photograph_open_is_told(app, store):
    app.worklist.enter(store.image_ids()[1], "a browser", "Dr <Open>")
    assert "open at Dr &lt;Open&gt;" in render_start_page(app, "en")


def test_problems_come_first_and_what_others_wrote_is_no_html(app):
    app.model_versions = versions("The <models> are gone.")
    page = render_start_page(app, "en")
    assert "The &lt;models&gt; are gone." in page
    assert "Test &lt;classifier&gt;" in page
    assert page.index("attention") < page.index("<table>")


@pytest.mark.parametrize("page", [-5, 0, 1, 10**9])
def test_a_page_that_there_is_not_becomes_the_nearest(app, page):
    assert render_start_page(app, "en", "open", page).count("<tr><td>") == 3


def test_the_doctor_is_offered_where_there_is_one(app):
    assert "id='examine'" not in render_start_page(app, "en")
    app.examine = list
    assert "id='examine'" in render_start_page(app, "en")


def test_both_languages_say_the_same_things():
    assert TEXTS["en"].keys() == TEXTS["de"].keys()


@pytest.mark.parametrize(
    ("header", "language"),
    [("de-CH,de;q=0.9", "de"), ("DE", "de"), ("en-GB,de;q=0.5", "en"), ("fr,de;q=0.5", "de"), ("", "en")],
)
def test_the_browser_chooses_the_language(header, language):
    assert spoken_language(header) == language


def test_nothing_comes_from_elsewhere(app):
    assert "//" not in render_start_page(app, "de")
    assert "*" not in HEADERS["Content-Security-Policy"]


# ---- trainings ----


def plans(schedule, **facts):
    """A server's plans for diagnoses."""
    standing = Standing(**({"corrections": 60, "new": 12} | facts))
    plan = decide(schedule, standing, datetime(2026, 5, 2, 12))
    return lambda: [TaskPlan(trainer="lesion_classification", standing=standing, plan=plan)]


@pytest.mark.parametrize(
    ("schedule", "facts", "sentence"),
    [
        ((None, None), {}, "Trainings do not start by themselves"),
        ((50, None), {"corrections": 8, "new": 8}, "12 more corrected photographs are needed"),
        ((50, None), {"corrections": 19, "new": 1}, "1 more corrected photograph is needed"),
        ((50, None), {}, "The next training starts after 38 more corrections."),
        ((13, "22:00-06:00"), {}, "after 1 more correction, at the latest at 22:00."),
        ((50, "22:00-06:00"), {}, "after 38 more corrections, at the latest at 22:00."),
        ((None, "22:00-06:00"), {}, "The next training starts at 22:00."),
        ((None, "22:00-06:00"), {"new": 0}, "There is nothing new to learn."),
        ((10, None), {}, "A training starts now."),
        (
            (50, None),
            {"attempt": Attempt(at=datetime(2026, 5, 1, 23), new=12, end="failed", answer="<full>")},
            "The training of 2026-05-01 23:00 failed: &lt;full&gt;",
        ),
    ],
)
def test_the_page_says_when_the_next_training_starts_or_why_not(app, schedule, facts, sentence):
    app.automatic = SimpleNamespace(plans=plans(Schedule.parse(*schedule), **facts))
    page = render_start_page(app, "en")
    assert sentence in page
    assert "<strong>Diagnoses:</strong>" in page
    assert "src='/viewer/history.svg'" in page
    assert "<strong>Diagnosen:</strong>" in render_start_page(app, "de")


def test_a_registry_that_cannot_be_read_does_not_take_the_page_away(app):
    def plans():
        raise StorageError("the log of the models cannot be read")

    app.automatic = SimpleNamespace(plans=plans)
    assert "the log of the models cannot be read" in render_start_page(app, "en")
