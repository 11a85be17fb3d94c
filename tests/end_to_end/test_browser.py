"""A clinician's work in the browser: headless Chromium, a real server process, real files.

Screenshots are kept in `test-results/browser`, for people to look at.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from PIL import Image
from pydicom import dcmread
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from dermcheck.datastore import StudyStore
from dermcheck.dicom.photo_import import PhotoDetails, photo_to_dicom
from dermcheck.dicom.photograph import read_photograph
from dermcheck.dicom.segmentation import read_segmentation
from dermcheck.inference import Predictor
from dermcheck.networks.checkpoint import REFERENCE_MODELS

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")

REPOSITORY = Path(__file__).parents[2]
CONTRASTS = Path(__file__).parent / "contrasts.js"
SCREENSHOTS = REPOSITORY / "test-results" / "browser"
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    "--use-gl=angle",
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
]
PATIENCE_MS = 90_000  # a busy machine; how quick it is normally is measured, not tested
SAMPLES = (
    "synthetic-1/visit-1/01-melanoma.dcm",  # dermoscopic, JPEG, PixelSpacing
    "synthetic-1/visit-2/03-melanoma.dcm",  # JPEG 2000
    "synthetic-2/visit-1/05-hairy-naevus.dcm",  # lossless JPEG 2000
    "synthetic-2/visit-1/06-clean-skin.dcm",  # VL Photographic, JPEG-LS
    "synthetic-2/visit-1/07-keratosis-portrait.dcm",  # HTJ2K, portrait
    "synthetic-2/visit-2/08-basal-cell-carcinoma.dcm",  # deflated
    "synthetic-3/visit-1/11-dermatofibroma-portrait.dcm",  # lossless JPEG
    "synthetic-3/visit-2/12-three-lesions.dcm",
    "synthetic-4/visit-1/14-vascular-lesion-endoscope.dcm",  # RLE
    "synthetic-5/visit-1/17-vascular-lesion-big-endian.dcm",  # colour by plane
    "synthetic-5/visit-1/18-naevus-palette.dcm",
    "synthetic-5/visit-1/19-melanoma-grey.dcm",
    "synthetic-5/visit-1/20-basal-cell-carcinoma-ybr-full.dcm",
)
SEND_NOW = """() => {
  for (const key of Object.keys(localStorage).filter(key => key.startsWith('dermcheck.outbox.'))) {
    const entry = JSON.parse(localStorage.getItem(key));
    localStorage.setItem(key, JSON.stringify({ ...entry, heldUntil: 0 }));
  }
}"""
PALETTE = 10
UNUSUAL = range(len(SAMPLES), len(SAMPLES) + 3)
"""Numbers of photographs that only the archive has: see `make_unusual`."""
FILM = UNUSUAL.stop
"""Number of a photograph with two frames, which is not shown at all."""


@pytest.fixture(scope="module")  # its event loop would be in the way of tests that run one of their own
def chromium(require_program: Callable[[str, str], str]) -> Iterator[Any]:
    path = require_program("chromium", "chromium")
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def make_place(
    start: Callable[..., Any], free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Start a server with photographs of `sample_studies` and the models that come with DermCheck."""

    def make(serve_command: list[str], names: tuple[str, ...]) -> Any:
        studies = tmp_path_factory.mktemp("browser") / "Studien"
        studies.mkdir()
        for number, name in enumerate(names):
            shutil.copy(REPOSITORY / "sample_studies" / name, studies / f"{number:02}.dcm")
        port = free_port()
        options = ["--studies", str(studies), "--models", str(REFERENCE_MODELS), "--port", str(port)]
        return start([*serve_command, *options], studies, port)

    return make


@pytest.fixture(scope="session")
def place(make_place: Callable[..., Any], serve_command: list[str]) -> Any:
    """A server with the viewer that monailabel brings."""
    return make_place(serve_command, SAMPLES)


@pytest.fixture
def newer_place(make_place: Callable[..., Any]) -> Any:
    """A server with the optional viewer, where its package is at hand: nothing is downloaded here."""
    package = os.environ.get("DERMCHECK_OHIF_PACKAGE")
    if not package:
        pytest.skip("needs DERMCHECK_OHIF_PACKAGE=ohif-app-3.13.2.tgz (npm pack @ohif/app@3.13.2)")
    program = (
        "import sys; from dermcheck.cli import main; "
        f"main(['viewer', 'install', {package!r}]); main(['viewer', 'use', 'ohif-3.13']); "
        "sys.exit(main(['serve', *sys.argv[1:]]))"
    )
    return make_place([sys.executable, "-c", program], SAMPLES[:3])


@pytest.fixture(scope="module")
def archive_place(
    orthanc: str,
    start: Callable[..., Any],
    serve_command: list[str],
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A server over a real archive that holds what `SAMPLES` names; its folder has copies to compare with."""
    for patient in requests.get(f"{orthanc}/patients", timeout=10).json():
        requests.delete(f"{orthanc}/patients/{patient}", timeout=10).raise_for_status()
    copies = tmp_path_factory.mktemp("archive") / "copies"
    copies.mkdir()
    for number, name in enumerate(SAMPLES):
        shutil.copy(REPOSITORY / "sample_studies" / name, copies / f"{number:02}.dcm")
    make_unusual(copies)
    for copy in copies.iterdir():
        requests.post(f"{orthanc}/instances", data=copy.read_bytes(), timeout=10).raise_for_status()
    port = free_port()
    options = ["--studies", f"{orthanc}/dicom-web", "--models", str(REFERENCE_MODELS), "--port", str(port)]
    return start([*serve_command, *options], copies, port)


def make_unusual(folder: Path) -> None:
    """Store a photograph in forms that OHIF by itself shows white, black or with another contrast."""
    pixels = read_photograph(dcmread(folder / "00.dcm")).pixels
    luma = pixels.mean(-1).astype(np.uint16)
    forms = (
        (pixels.astype(np.uint16) * 257, "RGB", 16),
        (luma * 16 + luma // 16, "MONOCHROME2", 12),
        (pixels, "RGB", 8),
        (np.stack([pixels, pixels[::-1]]), "RGB", 8),  # the film
    )
    for number, (samples, photometric, bits) in enumerate(forms, start=UNUSUAL.start):
        dataset = dcmread(folder / "00.dcm")
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        dataset.Modality = "OT"
        dataset.LossyImageCompression = "00"
        dataset.set_pixel_data(samples, photometric, bits)
        if number == UNUSUAL[-1]:
            dataset.PixelData = _halved(pixels)
            dataset.PhotometricInterpretation = "YBR_FULL_422"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{number:02}.dcm", enforce_file_format=True)


def _halved(pixels: np.ndarray) -> bytes:
    """Return uncompressed YBR_FULL_422: colour only of each second pixel (PS3.3 C.7.6.3.1.2)."""
    ybr = convert_color_space(pixels, "RGB", "YBR_FULL")
    halved = (ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2])
    return np.stack(halved, axis=-1).tobytes()


@pytest.fixture
def archive_clinic(chromium: Any, archive_place: Any, orthanc: str) -> Iterator[Clinic]:
    """A browser in front of the server over an archive."""
    opened = Clinic(chromium, archive_place, "archive", f"{orthanc}/dicom-web")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def reference() -> Predictor:
    """The models that the servers use, in this process."""
    torch.set_num_threads(1)
    return Predictor.load(REFERENCE_MODELS)


class Clinic:
    """A browser in front of a server; `studies` is where its labels are, if not in the server's folder."""

    def __init__(self, browser: Any, server: Any, name: str, studies: str | None = None) -> None:
        self.server = server
        self.studies = studies or server.studies
        self.name = name
        self.context = browser.new_context(viewport={"width": 1366, "height": 768}, locale="en-GB")
        self.context.set_default_timeout(PATIENCE_MS)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.context.on("requestfailed", self._forget_forbidden)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._note_caught)

    def _note_caught(self, message: Any) -> None:
        """OHIF catches errors that nobody else does, and shows that something went wrong."""
        if "Error Boundary" in message.text:
            self.errors.append(message.text)

    def _forget_forbidden(self, request: Any) -> None:
        """Chromium reports requests that the page's policy kept it from sending, too."""
        if request.failure == "csp":
            self.requests.remove(request.url)

    def open(self, number: int) -> None:
        """Load the viewer with a photograph of `SAMPLES`."""
        header = self.header(number)
        self.image = header.sop_instance_uid
        self.page.goto(
            f"{self.server.address}/ohif/derm?StudyInstanceUIDs={header.study_instance_uid}&image={self.image}"
        )
        self.wait_ready(self.image)

    def open_from_list(self, number: int) -> None:
        """Open a study from the list of all studies, as somebody does who looks for a patient."""
        header = self.header(number)
        self.page.goto(f"{self.server.address}/ohif/")
        row = self.page.locator(f"[data-cy='studyRow-{header.study_instance_uid}']")
        newer_row = self.page.locator("tr", has_text=f"{header.acquired:%d-%b-%Y}")  # of OHIF 3.13
        row.or_(newer_row).click()
        mode = self.page.locator(f"[data-cy='mode-derm-{header.study_instance_uid}']")
        mode.or_(self.page.get_by_text("DermCheck", exact=True)).first.click()
        self.page.wait_for_selector("#dermcheck[data-state=ready]")
        self.image = str(self.page.get_attribute("#dermcheck", "data-image"))
        self.wait_ready(self.image)

    def go(self, number: int) -> None:
        """Show a photograph in the loaded viewer, as `next` does."""
        header = self.header(number)
        self.image = header.sop_instance_uid
        self.page.evaluate(
            "async ([study, image]) => { const {viewer} = window.dermcheck;"
            " await viewer.load(study, image); viewer.show(image); }",
            [header.study_instance_uid, self.image],
        )
        self.wait_ready(self.image)

    def wait_ready(self, image: str) -> None:
        self.page.wait_for_selector(f'#dermcheck[data-state=ready][data-image="{image}"]')
        # `ready` is drawn before the outline of a prediction is.
        self.page.wait_for_function("() => !window.dermcheck.workplace.current.predicting")
        self.page.wait_for_timeout(300)

    def wait_next(self, image: str) -> str:
        """Wait until another photograph than this one is on the screen; return its id."""
        shown = self.page.wait_for_selector(f'#dermcheck:not([data-image="{image}"])')
        return str(shown.get_attribute("data-image"))

    def path(self, number: int) -> Path:
        return Path(self.server.studies) / f"{number:02}.dcm"

    def store(self) -> StudyStore:
        return StudyStore.open(self.studies, self.path(0).parent.parent / "cache of the test", watch=False)

    def header(self, number: int) -> Any:
        from dermcheck.dicom.header import read_header

        return read_header(dcmread(self.path(number)))

    def pixels(self, number: int) -> np.ndarray:
        return read_photograph(dcmread(self.path(number))).pixels

    def label_map(self) -> np.ndarray:
        """Return what is laid over the photograph now."""
        rows, columns, values = self.page.evaluate(
            "async () => { const {current} = window.dermcheck.workplace;"
            " const {pack} = await import('/viewer/static/server.js');"
            " const {Rows, Columns} = current.photograph;"
            " return [Rows, Columns, await pack(current.history.values)]; }"
        )
        from dermcheck.label_app.browser_masks import decode_label_map

        return decode_label_map(values, rows, columns)

    def on_screen(self, x: float, y: float) -> tuple[float, float]:
        """Return where the page shows the middle of a pixel (column, row)."""
        place = self.page.evaluate(
            "([x, y]) => { const {viewport, photograph} = window.dermcheck.viewer;"
            " const plane = window.cornerstone.metaData.get('imagePlaneModule', photograph.imageId);"
            " const [left, top] = viewport.worldToCanvas([x * plane.columnPixelSpacing,"
            "   y * plane.rowPixelSpacing, plane.imagePositionPatient[2]]);"
            " const box = viewport.element.getBoundingClientRect();"
            " return [box.left + left, box.top + top]; }",
            [float(x), float(y)],
        )
        return float(place[0]), float(place[1])

    def screen(self) -> np.ndarray:
        import io

        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"), np.int16)

    def colour(self, screen: np.ndarray, x: float, y: float) -> np.ndarray:
        left, top = self.on_screen(x, y)
        return np.median(screen[round(top) - 1 : round(top) + 2, round(left) - 1 : round(left) + 2], (0, 1))

    def stroke(self, *points: tuple[float, float]) -> None:
        """Draw with the mouse through pixels (column, row)."""
        before = self.page.evaluate("() => window.dermcheck.workplace.current.history.done.length")
        self.page.mouse.move(*self.on_screen(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.on_screen(*point), steps=8)
        self.page.mouse.up()
        self.page.wait_for_function(
            "before => window.dermcheck.workplace.current.history.done.length > before", arg=before
        )

    def notices(self) -> str:
        return " ".join(self.page.locator("#dermcheck .notice span").all_inner_texts())

    def picture(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{self.name}-{name}.png")

    def wait_labels(self, image: str, count: int, *, patiently: bool = False) -> list[Any]:
        """Wait until so many labels of a photograph are on the disk.

        Not `patiently`, submissions are sent at once rather than after the seconds in which they could be
        taken back.
        """
        if not patiently:
            self.page.wait_for_function("() => !window.dermcheck.workplace.current?.submitting")
            self.page.evaluate(SEND_NOW)
        until = time.monotonic() + PATIENCE_MS / 1000
        while time.monotonic() < until:
            with self.store() as store:
                labels = store.labels(image)
                if len(labels) >= count:
                    assert len(labels) == count
                    return labels
            self.page.wait_for_timeout(300)  # not time.sleep: routes are answered meanwhile
        raise AssertionError(f"{count} labels expected: {self.notices()}")

    def stored(self, image: str, count: int = 1) -> tuple[Any, list[Any]]:
        """Return the newest label on the disk and its segments."""
        label = self.wait_labels(image, count)[-1]
        with self.store() as store:
            return label, read_segmentation(store.retrieve_label(label.sop_instance_uid), store.header(image))

    def leave(self) -> None:
        """Leave the viewer as a clinician does: a context that is closed ends before it says goodbye."""
        self.page.goto(f"{self.server.address}/viewer/static/texts.js")

    def close(self) -> None:
        self.leave()
        self.page.wait_for_timeout(500)
        self.context.close()
        outside = {
            url for url in self.requests if not url.startswith((self.server.address, "blob:", "data:"))
        }
        assert not outside, "requests left the machine"
        assert not self.errors


@pytest.fixture
def clinic(chromium: Any, place: Any, request: pytest.FixtureRequest) -> Iterator[Clinic]:
    """A browser with empty storage in front of the server."""
    opened = Clinic(chromium, place, request.node.name)
    yield opened
    opened.close()


@pytest.mark.timeout(300)
def test_see_predict_correct_submit_next(clinic: Clinic, reference: Predictor) -> None:
    correct_a_photograph(clinic, reference)


@pytest.mark.timeout(300)
def test_the_optional_viewer_does_the_same(chromium: Any, newer_place: Any, reference: Predictor) -> None:
    clinic = Clinic(chromium, newer_place, "ohif-3.13")
    correct_a_photograph(clinic, reference)
    store_by_the_viewers_own_export(clinic)
    clinic.close()


def store_by_the_viewers_own_export(clinic: Clinic) -> None:
    """What OHIF 3.13 exports arrives by STOW-RS and counts as a correction, with its diagnosis."""
    clinic.go(1)
    clinic.page.keyboard.press("5")
    drawn = clinic.label_map() > 0
    assert drawn.any()
    clinic.page.click("#dermcheck [data-name=export]")
    dialog = clinic.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Save").wait_for()
    clinic.picture("export")
    dialog.get_by_role("button", name="Close").click()  # thought better of
    dialog.wait_for(state="hidden")
    clinic.page.click("#dermcheck [data-name=export]")
    dialog.get_by_role("button", name="Save").click()
    clinic.page.wait_for_selector("#dermcheck .notice.done")
    label, (segment,) = clinic.stored(clinic.image)
    np.testing.assert_array_equal(segment.mask, drawn)
    assert segment.lesion_class.name == "mel"
    assert not label.automatic


@pytest.mark.timeout(300)
def test_a_real_archive_behind_the_server_changes_nothing(
    archive_clinic: Clinic, reference: Predictor
) -> None:
    """All is read from the archive, and what is submitted arrives there, through the outbox."""
    correct_a_photograph(archive_clinic, reference)
    label_several_lesions_and_none(archive_clinic)


def correct_a_photograph(clinic: Clinic, reference: Predictor) -> None:
    clinic.open_from_list(0)
    assert clinic.image == clinic.header(0).sop_instance_uid
    clinic.page.fill("#dermcheck-name", "Dr Müller")
    clinic.page.keyboard.press("Tab")
    predicted = reference.predict(clinic.pixels(0)).mask
    assert predicted.any()
    assert not predicted.all()
    np.testing.assert_array_equal(clinic.label_map() > 0, predicted)

    clinic.picture("predicted")
    inside = np.argwhere(_eroded(predicted, 6))
    row, column = inside[len(inside) // 2]
    with_overlay = clinic.screen()
    clinic.page.keyboard.press("o")
    clinic.page.wait_for_timeout(500)
    without = clinic.screen()
    clinic.page.keyboard.press("o")
    change = clinic.colour(with_overlay, column, row) - clinic.colour(without, column, row)
    assert np.abs(change).max() > 8, "the outline's veil is not where the mask is"
    outside = np.argwhere(_eroded(~predicted, 6))
    row, column = outside[len(outside) // 2]
    change = clinic.colour(with_overlay, column, row) - clinic.colour(without, column, row)
    assert np.abs(change).max() <= 2, "there is a veil where no mask is"

    clinic.page.evaluate("() => window.dermcheck.workplace.setBrush(30)")
    clinic.page.keyboard.press("b")
    clinic.stroke((60, 60), (120, 60))
    painted = clinic.label_map() > 0
    assert painted[60, 60:121].all()
    assert painted[48, 90]
    assert painted[72, 90]
    far = np.ones_like(painted)
    far[40:81, 40:141] = False
    np.testing.assert_array_equal(painted[far], predicted[far])

    clinic.page.keyboard.press("e")
    clinic.stroke((90, 60), (90, 60.5))
    erased = clinic.label_map() > 0
    assert not erased[60, 80:101].any()
    assert erased[60, 60]
    clinic.page.keyboard.press("Control+z")
    np.testing.assert_array_equal(clinic.label_map() > 0, painted)
    clinic.page.keyboard.press("Control+y")
    np.testing.assert_array_equal(clinic.label_map() > 0, erased)

    clinic.page.keyboard.press("3")
    clinic.picture("corrected")
    image = clinic.image
    clinic.page.keyboard.press("Control+Enter")
    clinic.wait_next(image)
    label, segments = clinic.stored(image)
    assert [segment.lesion_class.name for segment in segments] == ["bkl"]
    np.testing.assert_array_equal(segments[0].mask, erased)
    assert label.creator == "Dr Müller"
    assert not label.automatic


def _eroded(mask: np.ndarray, by: int) -> np.ndarray:
    """Leave out what is near the edge of a mask, or of the photograph."""
    inner = np.zeros_like(mask)
    inner[by:-by, by:-by] = True
    for rows, columns in ((by, 0), (-by, 0), (0, by), (0, -by)):
        inner &= np.roll(mask, (rows, columns), (0, 1))
    return inner & mask


@pytest.mark.timeout(300)
def test_photographs_of_every_kind_show_their_colours(clinic: Clinic) -> None:
    clinic.context.add_init_script("localStorage.setItem('dermcheck.predict', 'false')")
    clinic.open(1)
    assert not wrong_colours(clinic, range(len(SAMPLES)))


@pytest.mark.timeout(300)
def test_photographs_of_an_archive_show_their_colours(archive_clinic: Clinic) -> None:
    """Also those whose frames Orthanc fails to give (HTJ2K, deflated, big endian), and palettes."""
    clinic = archive_clinic
    clinic.context.add_init_script("localStorage.setItem('dermcheck.predict', 'false')")
    clinic.open(1)
    assert not wrong_colours(clinic, [4, 5, 8, 9, PALETTE, 12, *UNUSUAL])
    clinic.picture("unusual")
    # Of several frames OHIF would show the first: better not at all.
    refused = clinic.header(FILM)
    clinic.page.evaluate(
        "([study, image]) => window.dermcheck.viewer.load(study, image)"
        ".catch(error => window.dermcheck.workplace.tell('error', error.message))",
        [refused.study_instance_uid, refused.sop_instance_uid],
    )
    clinic.page.wait_for_selector("#dermcheck .notice.error:has-text('several frames')")
    clinic.page.goto(f"{clinic.server.address}/ohif/derm?StudyInstanceUIDs={refused.study_instance_uid}")
    clinic.page.wait_for_selector("#dermcheck .notice.error:has-text('several frames')")
    assert clinic.page.get_attribute("#dermcheck", "data-image") == ""
    clinic.picture("film")


@pytest.mark.timeout(300)
def test_a_photograph_that_cannot_be_shown_does_not_stop_the_work(archive_clinic: Clinic) -> None:
    """Which photograph comes next is chosen at random; here it is first one that OHIF cannot show."""
    clinic = archive_clinic
    clinic.context.add_init_script("localStorage.setItem('dermcheck.predict', 'false')")
    refused = clinic.header(FILM)
    others_are_left = True
    skipped: list[list[str]] = []

    def choose(route: Any) -> None:
        answer = route.fetch()
        skip = route.request.post_data_json["skip"]
        skipped.append(skip)
        chosen = {}
        if refused.sop_instance_uid not in skip:
            chosen = {"image": refused.sop_instance_uid, "study": refused.study_instance_uid}
        elif not others_are_left:
            chosen = {"image": None}
        route.fulfill(response=answer, json=answer.json() | chosen)

    clinic.page.route("**/viewer/next", choose)
    clinic.open(1)
    clinic.page.wait_for_selector("#dermcheck .notice.warning:has-text('several frames')")
    clinic.page.keyboard.press("n")
    shown = clinic.wait_next(clinic.image)
    assert shown != refused.sop_instance_uid
    clinic.wait_ready(shown)

    others_are_left = False
    clinic.page.evaluate("() => window.dermcheck.workplace.prefetch()")
    clinic.page.keyboard.press("n")
    clinic.page.wait_for_selector("#dermcheck .notice.info:has-text('cannot be shown: 1.')")
    assert shown == clinic.page.get_attribute("#dermcheck", "data-image")
    assert [refused.sop_instance_uid in skip for skip in skipped] == [False] + [True] * (len(skipped) - 1)


@pytest.mark.timeout(300)
def test_a_server_that_gives_no_pixels_is_not_asked_for_every_photograph(clinic: Clinic) -> None:
    """After a few that cannot be loaded it is told, and the work goes on once there are pixels again."""
    clinic.context.add_init_script("localStorage.setItem('dermcheck.predict', 'false')")
    present = clinic.header(1).sop_instance_uid  # the only photograph of its visit
    refused: set[str] = set()

    def refuse(route: Any) -> None:
        image = route.request.url.rpartition("/instances/")[2].partition("/")[0]
        if image == present:
            route.continue_()
            return
        refused.add(image)
        route.fulfill(status=503)

    clinic.page.route("**/frames/**", refuse)
    clinic.open(1)
    clinic.page.keyboard.press("n")
    clinic.page.wait_for_selector("#dermcheck .notice.error:has-text('did not give the photograph')")
    assert len(refused) == 3
    assert clinic.page.get_attribute("#dermcheck", "data-image") == present
    clinic.picture("no-pixels")
    clinic.page.unroute("**/frames/**")
    clinic.page.keyboard.press("n")
    clinic.wait_next(present)


def wrong_colours(clinic: Clinic, numbers: Iterable[int]) -> list[str]:
    """Show photographs, and compare the screen with their pixels at four places."""
    wrong = []
    for number in numbers:
        clinic.go(number)
        clinic.page.evaluate("() => window.dermcheck.viewer.takeAway()")  # a label of another test
        clinic.page.wait_for_timeout(300)
        pixels, screen = clinic.pixels(number), clinic.screen()
        rows, columns = pixels.shape[:2]
        for x, y in ((0.2, 0.3), (0.5, 0.5), (0.7, 0.35), (0.35, 0.8)):
            column, row = int(x * columns), int(y * rows)
            near = pixels[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3).astype(int)
            shown = clinic.colour(screen, column, row)
            if np.any(shown < near.min(0) - 12) or np.any(shown > near.max(0) + 12):
                wrong.append(f"{number} at {column}, {row}: {shown}, expected {near.mean(0)}")
    return wrong


@pytest.mark.timeout(300)
def test_an_unsubmitted_correction_survives_a_reload(clinic: Clinic) -> None:
    clinic.open(3)
    clinic.page.evaluate("() => window.dermcheck.workplace.setBrush(20)")
    clinic.stroke((100, 100), (160, 140))
    clinic.page.keyboard.press("5")
    drawn = clinic.label_map()
    clinic.page.wait_for_function(
        "image => JSON.parse(localStorage.getItem(`dermcheck.draft.${image}`))"
        "?.lesions[0]?.diagnosis === 'mel'",
        arg=clinic.image,
    )
    clinic.page.reload()
    clinic.wait_ready(clinic.image)
    np.testing.assert_array_equal(clinic.label_map(), drawn)
    assert "not submitted" in clinic.notices()
    assert clinic.page.get_attribute("#dermcheck [data-name=mel]", "aria-checked") == "true"
    clinic.picture("restored")


@pytest.mark.timeout(300)
def test_a_late_answer_is_not_shown_on_another_photograph(clinic: Clinic) -> None:
    clinic.context.add_init_script("localStorage.setItem('dermcheck.predict', 'false')")
    clinic.open(4)
    held: list[Any] = []
    clinic.page.route("**/viewer/predictions/**", lambda route: held.append(route))
    clinic.page.keyboard.press("p")
    clinic.page.wait_for_function("() => window.dermcheck.workplace.current.predicting")
    until = time.monotonic() + 10
    while not held and time.monotonic() < until:
        clinic.page.wait_for_timeout(50)
    clinic.go(5)
    held[0].continue_()
    clinic.page.wait_for_timeout(2500)
    assert not clinic.label_map().any()
    assert clinic.page.locator("#dermcheck .probability").first.inner_text() == ""


@pytest.mark.timeout(300)
def test_several_lesions_and_none_are_stored_as_drawn(clinic: Clinic) -> None:
    label_several_lesions_and_none(clinic)


def label_several_lesions_and_none(clinic: Clinic) -> None:
    clinic.context.add_init_script("localStorage.setItem('dermcheck.predict', 'false')")
    clinic.open(7)
    clinic.page.evaluate("() => window.dermcheck.workplace.setBrush(40)")
    clinic.page.keyboard.press("b")
    clinic.stroke((100, 80), (110, 80))
    clinic.page.keyboard.press("6")
    clinic.page.keyboard.press("+")
    clinic.stroke((300, 200), (310, 200))
    clinic.page.keyboard.press("5")
    drawn = clinic.label_map()
    assert set(np.unique(drawn)) == {0, 1, 2}
    clinic.picture("two-lesions")
    image = clinic.image
    clinic.page.keyboard.press("Control+Enter")
    _, segments = clinic.stored(image)
    assert [segment.lesion_class.name for segment in segments] == ["nv", "mel"]
    for value, segment in enumerate(segments, start=1):
        np.testing.assert_array_equal(segment.mask, drawn == value)

    clinic.go(7)  # opened again: as it was stored; now the answer is "no lesion"
    np.testing.assert_array_equal(clinic.label_map(), drawn)
    clinic.page.click("#dermcheck [data-name=clear]")
    clinic.page.wait_for_selector("#dermcheck [data-name=stores]:has-text('No lesion')")
    clinic.page.keyboard.press("Control+Enter")
    _, segments = clinic.stored(image, count=2)
    assert not any(segment.mask.any() for segment in segments)


@pytest.mark.timeout(300)
def test_a_submission_can_be_taken_back(clinic: Clinic) -> None:
    clinic.open(8)
    image = clinic.image
    clinic.page.keyboard.press("7")
    clinic.page.keyboard.press("Control+Enter")
    clinic.page.wait_for_selector("#dermcheck .notice.done")
    assert "stored without a name" in clinic.notices()
    clinic.wait_next(image)
    clinic.page.keyboard.press("u")
    clinic.wait_ready(image)
    assert clinic.page.get_attribute("#dermcheck [data-name=vasc]", "aria-checked") == "true"
    clinic.page.wait_for_timeout(6500)
    with clinic.store() as store:
        assert not store.labels(image)


@pytest.mark.timeout(300)
def test_two_clinicians_on_one_photograph_are_told_and_both_kept(chromium: Any, place: Any) -> None:
    first, second = Clinic(chromium, place, "first"), Clinic(chromium, place, "second")
    for clinic, name in ((first, "Dr First"), (second, "Dr Second")):
        clinic.context.add_init_script(
            "localStorage.setItem('dermcheck.predict', 'false');"
            f"localStorage.setItem('dermcheck.clinician', '{name}')"
        )
        clinic.open(9)
    assert re.search(r"Also open at: [^.]*Dr First", second.notices())
    second.picture("told")
    image = first.image
    first.page.keyboard.press("1")
    first.page.keyboard.press("Control+Enter")
    first.wait_labels(image, 1)
    second.page.keyboard.press("2")
    second.page.keyboard.press("Control+Enter")
    labels = second.wait_labels(image, 2)
    assert [label.creator for label in labels] == ["Dr First", "Dr Second"]
    second.page.wait_for_selector("#dermcheck .notice:has-text('Dr First has labelled the same photograph')")
    first.close()
    second.close()


@pytest.mark.timeout(300)
def test_the_panel_is_readable_in_light_and_dark_rooms_and_on_large_displays(clinic: Clinic) -> None:
    clinic.open(2)  # no other test labels it: it is predicted at once
    page = clinic.page
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_selector(f"#dermcheck[data-theme={theme}]")
        for kind in ("info", "done", "warning", "error"):
            page.evaluate("kind => window.dermcheck.workplace.tell(kind, `A sentence (${kind})`)", kind)
        page.evaluate("() => document.querySelector('#dermcheck details').open = true")
        page.locator("#dermcheck .notice.error").wait_for()
        page.keyboard.press("?")
        found = page.evaluate(CONTRASTS.read_text())
        assert len(found) > 60
        assert not [one for one in found if one[0] < one[1]], theme
        page.keyboard.press("Escape")
        page.evaluate("() => window.dermcheck.workplace.notices = []")
        page.evaluate("() => document.querySelector('#dermcheck details').open = false")
        for size, (width, height) in {"small": (1366, 768), "4k": (3840, 2160)}.items():
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(1000)
            clinic.picture(f"{theme}-{size}")
            panel = page.evaluate(
                "() => { const panel = document.querySelector('#dermcheck');"
                " const {width} = panel.getBoundingClientRect();"
                " const submit = panel.querySelector('[data-name=submit]').getBoundingClientRect();"
                " return {width, font: parseFloat(getComputedStyle(panel).fontSize),"
                "   overflows: panel.scrollWidth > panel.clientWidth, bottom: submit.bottom}; }"
            )
            assert not panel["overflows"]
            assert panel["bottom"] <= height
            assert panel["font"] >= max(13, height / 90), "a 4K display shows twice as many pixels"
            assert width * 0.14 <= panel["width"] <= width * 0.21

    page.set_viewport_size({"width": 1366, "height": 768})
    page.select_option("#dermcheck [data-name=theme]", "light")  # while the system is dark
    page.wait_for_selector("#dermcheck[data-theme=light]")
    assert room_below_the_tools(clinic, "english") >= 0
    clinic.context.add_init_script("Object.defineProperty(navigator, 'language', {get: () => 'de-DE'})")
    page.reload()
    clinic.wait_ready(clinic.image)
    assert page.get_attribute("#dermcheck", "data-theme") == "light"
    assert page.get_attribute("#dermcheck", "lang") == "de"
    assert "Abschicken" in page.inner_text("#dermcheck [data-name=submit]")
    assert room_below_the_tools(clinic, "german") >= 0


def room_below_the_tools(clinic: Clinic, name: str) -> float:
    """Show the longest that a panel has to say; return how far its tools are from being covered."""
    clinic.page.evaluate(
        "() => { const {workplace: work} = window.dermcheck; const {current} = work;"
        " current.reason = 'The model is unsure of the outline. '.repeat(8);"
        " Object.assign(current.known, {site: 'Skin of posterior surface of forearm', laterality: 'R'});"
        " Object.assign(current.answer.params, {decision: 'bkl', is_lesion_photograph: true, not_sure: true,"
        "   possible_classes: ['nv', 'bkl', 'mel'], melanoma_not_excluded: true}); work.changed(); }"
    )
    clinic.page.wait_for_timeout(300)
    clinic.picture(f"longest-{name}")
    room = clinic.page.evaluate(
        "() => { const panel = document.querySelector('#dermcheck'); panel.scrollTop = 0;"
        " const place = name => panel.querySelector(name).getBoundingClientRect();"
        " const lowest = Math.max(place('[data-name=hide]').bottom, place('[data-name=size]').bottom);"
        " return place('.bottom').top - lowest; }"
    )
    return float(room)


@pytest.mark.timeout(300)
def test_a_second_reading_shows_why_and_not_what_was_said_before(clinic: Clinic) -> None:
    """The first answer is in the studies; the second reader sees photograph and reason alone."""
    clinic.open(6)
    first = clinic.image
    clinic.page.keyboard.press("4")
    clinic.page.keyboard.press("Control+Enter")
    clinic.wait_labels(first, 1, patiently=True)
    clinic.wait_next(first)
    shown = str(clinic.page.get_attribute("#dermcheck", "data-image"))
    clinic.wait_ready(shown)
    chosen = {"image": first, "study": clinic.header(6).study_instance_uid, "second_reading": True}
    asked: list[str] = []

    def choose(route: Any) -> None:
        asked.append(route.request.post_data_json["strategy"])
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | chosen | {"reason": "Unsure of <two> classes."})

    clinic.page.route("**/viewer/next", choose)
    strategies = clinic.page.locator("#dermcheck [data-name=strategy]")
    names = strategies.locator("option").evaluate_all("options => options.map(option => option.value)")
    assert names == list(clinic.server.get("/info/").json()["strategies"])
    strategies.select_option("second_reading")
    with clinic.page.expect_request(lambda request: request.method == "DELETE") as given_back:
        clinic.page.keyboard.press("n")
    assert "/viewer/leases?" in given_back.value.url
    clinic.wait_ready(first)
    assert asked[0] == "second_reading"
    for is_reloaded in (False, True):
        assert clinic.page.inner_text("#dermcheck .caution").startswith("A second reading")
        assert not clinic.label_map().any()
        assert clinic.page.get_attribute("#dermcheck [data-name=none]", "aria-checked") == "true"
        assert clinic.page.locator("#dermcheck .probability").first.inner_text() == ""
        if not is_reloaded:
            assert clinic.page.inner_text("#dermcheck [data-name=reason]").endswith(
                "Unsure of <two> classes."
            )
            clinic.picture("blind")
            clinic.page.reload()
            clinic.wait_ready(first)
    clinic.page.evaluate("() => window.dermcheck.workplace.setBrush(40)")
    clinic.page.keyboard.press("b")
    clinic.stroke((60, 60), (90, 60))
    clinic.page.keyboard.press("5")
    with clinic.page.expect_request("**/viewer/submissions**") as sent:
        clinic.page.keyboard.press("Control+Enter")
    assert 0.3 < sent.value.post_data_json["seconds"] < 60
    labels = clinic.wait_labels(first, 2)
    assert len(labels) == 2
    clinic.page.wait_for_function("() => !Object.keys(localStorage).some(key => key.includes('outbox'))")
    assert "has labelled the same photograph" not in clinic.notices()


def test_a_photograph_in_hand_stays_in_hand_while_the_browser_says_so(place: Any) -> None:
    """What the viewer says each minute, and when it leaves a photograph."""
    image = place.get("/datastore/?output=all").json()["objects"]
    one = next(iter(image))
    lease = {"images": [one, "1.2.3"], "client": "another browser", "clinician": "Dr Lease"}
    assert place.post("/viewer/leases", json=lease).json() == {"renewed": 1}

    def visitors() -> list[str]:
        known = place.get(f"/viewer/photographs/{one}", params={"client": "mine"}).json()
        return [visitor["clinician"] for visitor in known["visitors"]]

    assert "Dr Lease" in visitors()
    given_back = place.request("DELETE", "/viewer/leases", params={"client": "another browser", "image": one})
    assert given_back.json() == {"given_back": 1}
    assert "Dr Lease" not in visitors()
    place.request("DELETE", "/viewer/leases", params={"client": "mine", "image": one})
    assert place.post("/viewer/leases", json=lease | {"images": [one] * 11}).status_code == 422


@pytest.mark.timeout(300)
def test_a_photograph_that_is_left_is_offered_to_others(clinic: Clinic) -> None:
    """Left for another one, or with the page: nobody has to wait until its lease ends by itself."""
    clinic.context.add_init_script(
        "localStorage.setItem('dermcheck.predict', 'false');"
        "localStorage.setItem('dermcheck.clinician', 'Dr Leaves')"
    )
    clinic.open(4)
    left = clinic.image
    clinic.page.wait_for_function("() => window.dermcheck.workplace.offered")
    upcoming = clinic.page.evaluate("() => window.dermcheck.workplace.offered")

    def wait_held(expected: set[str]) -> None:
        until = time.monotonic() + PATIENCE_MS / 1000
        while (held := {image for image in (left, clinic.image, upcoming) if is_held(image)}) != expected:
            assert time.monotonic() < until, f"{held} are held, expected {expected}"
            clinic.page.wait_for_timeout(100)

    def is_held(image: str) -> bool:
        probe = {"client": "probe", "image": image}
        known = clinic.server.get(f"/viewer/photographs/{image}", params=probe).json()
        clinic.server.request("DELETE", "/viewer/leases", params=probe)
        return "Dr Leaves" in [visitor["clinician"] for visitor in known["visitors"]]

    wait_held({left, upcoming})
    clinic.go(5 if clinic.header(5).sop_instance_uid != upcoming else 3)
    wait_held({clinic.image, upcoming})
    clinic.leave()
    wait_held(set())


@pytest.mark.timeout(300)
def test_time_away_from_a_photograph_does_not_count_as_work(clinic: Clinic) -> None:
    clinic.page.goto(f"{clinic.server.address}/")
    counted = clinic.page.evaluate(
        "async () => { const {Attention} = await import('/viewer/static/attention.js');"
        " let now = 0; performance.now = () => now;"
        " let state = 'visible'; Object.defineProperty(document, 'visibilityState', {get: () => state});"
        " const move = () => document.dispatchEvent(new Event('pointermove'));"
        " const turn = to => { state = to; document.dispatchEvent(new Event('visibilitychange')); };"
        " const attention = new Attention(2); const at = []; "
        " const note = seconds => { now += 1000 * seconds; at.push(attention.seconds); };"
        " note(5); now += 3600e3; move(); note(1); turn('hidden'); note(30); turn('visible'); note(4);"
        " return at; }"
    )
    assert counted == [7, 8, 8, 12]


@pytest.mark.timeout(300)
def test_nothing_is_lost_when_the_photograph_is_deleted_while_it_is_open(clinic: Clinic) -> None:
    clinic.context.add_init_script("localStorage.setItem('dermcheck.predict', 'false')")
    clinic.open(10)
    clinic.page.keyboard.press("4")
    path = clinic.path(10)
    kept = path.read_bytes()
    path.unlink()
    try:
        clinic.page.keyboard.press("Control+Enter")
        clinic.page.wait_for_selector("#dermcheck .notice.error")
        assert "was refused" in clinic.notices()
        stored = clinic.page.evaluate(
            "() => Object.keys(localStorage).filter(key => key.includes('outbox')).length"
        )
        assert stored == 1
    finally:
        path.write_bytes(kept)


@pytest.fixture(scope="module")
def large_study(
    make_place: Callable[..., Any],
    serve_command: list[str],
    draw_photo: Callable[..., Image.Image],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A server with a study of 20 photographs, besides one of `SAMPLES`."""
    server = make_place(serve_command, SAMPLES[2:3])
    folder = tmp_path_factory.mktemp("twenty")
    for number in range(1, 21):
        photo = folder / f"{number}.png"
        draw_photo(160 + 4 * number, 120, number).save(photo)  # each of another size
        details = PhotoDetails(patient_id="TWENTY", acquired=datetime(2025, 1, 2, 12, number))
        photo_to_dicom(photo, details).save_as(server.studies / f"{number:02}.dcm", enforce_file_format=True)
    return server


@pytest.mark.timeout(300)
def test_in_a_study_of_twenty_photographs_each_keeps_its_own_outline(chromium: Any, large_study: Any) -> None:
    clinic = Clinic(chromium, large_study, "twenty")
    clinic.context.add_init_script("localStorage.setItem('dermcheck.predict', 'false')")
    images = [clinic.header(number).sop_instance_uid for number in range(1, 21)]
    assert len({clinic.header(number).study_instance_uid for number in range(1, 21)}) == 1
    clinic.open(1)
    shown = clinic.page.locator("#dermcheck .thumbnails button")
    shown.nth(19).wait_for()
    assert {button.get_attribute("data-name") for button in shown.all()} == set(images)
    clinic.page.evaluate("() => window.dermcheck.workplace.setBrush(16)")
    drawn = {}
    for number in (20, 2, 11):
        clinic.image = images[number - 1]
        clinic.page.click(f"#dermcheck [data-name='{clinic.image}']")
        clinic.wait_ready(clinic.image)
        assert not clinic.label_map().any()
        clinic.stroke((2 * number + 20, 30), (2 * number + 40, 60))
        drawn[number] = clinic.label_map()
    clinic.picture("thumbnails")
    for number, expected in drawn.items():
        clinic.go(number)
        np.testing.assert_array_equal(clinic.label_map(), expected)
        clinic.page.keyboard.press("Control+Enter")
        _, (segment,) = clinic.stored(images[number - 1])
        np.testing.assert_array_equal(segment.mask, expected > 0)
    clinic.close()


@pytest.mark.timeout(400)
def test_a_server_killed_while_submitting_gets_the_submission_once(
    chromium: Any, large_study: Any, start: Callable[..., Any]
) -> None:
    server = large_study
    clinic = Clinic(chromium, server, "killed")
    clinic.open(0)
    clinic.page.keyboard.press("6")
    drawn = clinic.label_map()
    image = clinic.image
    # The submission arrives and is stored, but its answer never does: the server dies first.
    clinic.page.route("**/viewer/submissions**", lambda route: (route.fetch(), route.abort()))
    clinic.page.keyboard.press("Control+Enter")
    clinic.wait_labels(image, 1)
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    clinic.page.unroute("**/viewer/submissions**")
    clinic.page.wait_for_selector("#dermcheck .notice.warning:has-text('waits in this browser')")
    clinic.picture("waits")
    port = int(server.address.rpartition(":")[2])
    start(server.process.args, server.studies, port)  # another process, at the same address
    clinic.page.wait_for_function("() => !Object.keys(localStorage).some(key => key.includes('outbox'))")
    _, segments = clinic.stored(image)
    np.testing.assert_array_equal(segments[0].mask, drawn > 0)
    clinic.close()


@pytest.mark.timeout(300)
def test_the_start_page_lists_the_work_and_takes_photographs(
    clinic: Clinic, draw_photo: Callable[..., Image.Image], tmp_path: Path
) -> None:
    clinic.page.goto(clinic.server.address)
    assert "Research use only" in clinic.page.inner_text("body")
    clinic.picture("start-page")
    samples = {clinic.header(number).sop_instance_uid for number in range(len(SAMPLES))}
    assert listed(clinic)
    assert listed(clinic) <= samples
    photo = tmp_path / "Foto Knie.png"
    draw_photo(400, 300, 7).save(photo)
    (tmp_path / "letter.png").write_text("no picture")
    clinic.page.fill("[name=patient_id]", "P-77")
    clinic.page.set_input_files("#upload [type=file]", [str(photo), str(tmp_path / "letter.png")])
    clinic.page.wait_for_selector("#upload li:has-text('Foto Knie.png added')")
    clinic.page.wait_for_selector("#upload li.failed:has-text('letter.png')")
    clinic.page.reload()
    [added] = listed(clinic) - samples
    clinic.page.click(f"tbody a[href$='{added}']")
    clinic.wait_ready(added)
    assert not clinic.page.locator("#dermcheck [data-name=reason]").count()
    clinic.page.goto(clinic.server.address)
    clinic.page.get_by_role("link", name="Label photographs").click()
    clinic.page.wait_for_selector("#dermcheck[data-state=ready]")
    for _ in range(2):
        reason = clinic.page.inner_text("#dermcheck [data-name=reason]")
        assert re.match("Why this one: [A-Z].*[.]", reason), reason
        clinic.page.reload()
        clinic.page.wait_for_selector("#dermcheck[data-state=ready]")


def listed(clinic: Clinic) -> set[str]:
    """Return the ids of the photographs on the start page."""
    links = clinic.page.locator("tbody a").evaluate_all("links => links.map(link => link.href)")
    return {link.rpartition("image=")[2] for link in links}


@pytest.mark.timeout(300)
def test_the_train_button_tells_how_the_training_goes(
    chromium: Any,
    start: Callable[..., Any],
    serve_command: list[str],
    free_port: Callable[[], int],
    make_corrections: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """A real training on 20 corrections, the fewest that it takes."""
    studies = make_corrections(tmp_path / "studies", 20)
    shutil.copy(REPOSITORY / "sample_studies" / SAMPLES[0], studies / "00.dcm")
    (tmp_path / "registry").mkdir()
    port = free_port()
    options = ["--studies", str(studies), "--registry", str(tmp_path / "registry"), "--port", str(port)]
    clinic = Clinic(chromium, start([*serve_command, *options], studies, port), "training")
    clinic.context.add_init_script("localStorage.setItem('dermcheck.predict', 'false')")
    clinic.open(0)
    part = clinic.page.locator("#dermcheck details", has_text="Training")
    part.locator("summary").click()
    part.get_by_text("Train: lesion_segmentation").click()
    part.get_by_text("A training runs").wait_for()
    part.get_by_text(re.compile("epoch [1-8] of 8")).wait_for()
    clinic.picture("runs")
    assert clinic.server.request("DELETE", "/train/").json()["status"] == "STOPPED"
    part.get_by_text("Stopped; the same training goes on from here.").wait_for()
    clinic.close()
