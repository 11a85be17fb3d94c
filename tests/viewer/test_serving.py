"""What the browser gets: OHIF's files, our configuration, and headers that keep everything here."""

import json
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from dermcheck.viewer import serving
from dermcheck.viewer.bundles import DEFAULT, Bundle, BundleError, digest, wheel_folder


@pytest.fixture
def make_client(monkeypatch: pytest.MonkeyPatch):
    """A server with a viewer; stock routes of the same paths are there before."""

    def make(chosen) -> TestClient:
        monkeypatch.setattr(serving, "chosen_bundle", chosen)
        app = FastAPI()

        @app.get("/ohif/{path:path}")
        def stock(path: str) -> str:
            return "MONAI Label's own"

        @app.get("/")
        def start() -> str:
            return "start page"

        serving.attach_viewer(app)
        serving.attach_viewer(app)  # a second time changes nothing
        return TestClient(app)

    return make


@pytest.fixture
def client(make_client) -> TestClient:
    return make_client(lambda: (DEFAULT, wheel_folder()))


def test_pages_and_files_come_from_the_bundle_untouched(client):
    page = (wheel_folder() / "index.html").read_bytes()
    for path in ("/ohif/", "/ohif/derm?StudyInstanceUIDs=1.2", "/ohif"):
        assert client.get(path).content == page
    script = next(wheel_folder().glob("app.bundle.*.js"))
    answer = client.get(f"/ohif/{script.name}")
    assert answer.content == script.read_bytes()
    assert "immutable" in answer.headers["cache-control"]
    assert client.get("/ohif/missing.js").status_code == 404
    assert client.get("/ohif/%2e%2e/__init__.py").status_code == 404


def test_the_configuration_names_our_module_and_this_origin_only(client):
    text = client.get("/ohif/app-config.js").text
    config = json.loads(text.removeprefix("window.config = ").rstrip(";\n"))
    assert config["extensions"] == config["modes"] == ["/viewer/static/dermcheck.js"]
    assert "http" not in text
    assert client.get(config["modes"][0]).headers["content-type"].startswith("text/javascript")


def test_every_module_that_a_module_imports_is_served(client):
    static = Path(serving.__file__).parent / "static"
    for script in static.glob("*.js"):
        for line in script.read_text().splitlines():
            if line.startswith("import ") or line.startswith("} from "):
                name = line.rpartition("'./")[2].partition("'")[0]
                assert client.get(f"/viewer/static/{name}").status_code == 200, line


def test_the_policy_forbids_other_origins(client):
    for path in ("/ohif/", "/ohif/app-config.js", "/viewer/static/dermcheck.js"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "http" not in policy
        assert "*" not in policy


def test_other_files_are_refused_with_a_sentence_and_the_rest_goes_on(make_client):
    def chosen():
        raise BundleError("OHIF 9: these are <other> files.")

    client = make_client(chosen)
    answer = client.get("/ohif/")
    assert answer.status_code == 503
    assert "OHIF 9: these are &lt;other&gt; files." in answer.text
    assert client.get("/").json() == "start page"
    assert client.get("/some.js").status_code == 404


def test_a_build_for_the_root_gets_its_files_there_but_not_the_start_page(make_client, tmp_path):
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "app.js").write_text("1")
    client = make_client(lambda: (Bundle("ohif-3.13", "9", "/", digest(tmp_path)), tmp_path))
    assert client.get("/").json() == "start page"
    assert client.get("/app.js").text == "1"
    assert client.get("/ohif/derm").text == "page"
    assert client.get("/app-config.js").text.startswith("window.config")
    assert client.get("/index.html").status_code == 404
