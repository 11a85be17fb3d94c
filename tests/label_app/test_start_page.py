"""The start page over real studies."""

from types import SimpleNamespace

import numpy as np
import pytest

from dermcheck.dicom.author import Clinician
from dermcheck.dicom.segmentation import LesionSegment, write_segmentation
from dermcheck.label_app.start_page import HEADERS, render_start_page, spoken_language
from dermcheck.label_app.start_page_texts import TEXTS
from dermcheck.label_app.worklist import Worklist
from dermcheck.lesions import lesion_class


class Predictor:
    def __init__(self, problems=()):
        self._problems = list(problems)

    def state(self):
        version = {"name": "Test <classifier>", "version": "1.0", "sha256": "0"}
        return {"versions": {"classification": version}, "problems": []}

    def problems(self):
        return self._problems


@pytest.fixture
def app(store):
    """As much of the app as the page looks at."""
    return SimpleNamespace(store=store, predictor=Predictor(), worklist=Worklist(), examine=None)


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
    app.predictor = Predictor(["The <models> are gone."])
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
