"""An archive's answers, passed on to the browser; and how the archive is reached."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dermcheck.datastore.archive_access import ACCESS_VARIABLES, ArchiveAccess
from dermcheck.dicomweb.proxy import ArchiveProxy
from dermcheck.errors import ArgumentError, NotFoundError, StorageError

ROOT = "http://127.0.0.1:8000/dicom-web"


@pytest.fixture(autouse=True)
def _no_access_variables(monkeypatch):
    for name in ACCESS_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def archive() -> Iterator[dict]:
    """A server that answers everything alike, and notes what it was asked."""
    says: dict = {"status": 200, "body": b"[]", "type": "application/dicom+json", "asked": []}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            says["asked"].append((self.path, dict(self.headers)))
            self.send_response(says["status"])
            self.send_header("Content-Type", says["type"])
            self.send_header("Set-Cookie", "session=secret")
            self.send_header("Content-Length", str(len(says["body"])))
            self.end_headers()
            self.wfile.write(says["body"])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    says["url"] = f"http://127.0.0.1:{server.server_port}/dicom-web"
    yield says
    server.shutdown()
    server.server_close()


def proxy(archive: dict) -> ArchiveProxy:
    return ArchiveProxy(ArchiveAccess.from_environment(archive["url"]))


def test_path_query_and_accept_are_passed_on_and_nothing_else(archive):
    headers = {"Accept": "multipart/related", "Cookie": "ours", "Authorization": "Bearer ours"}
    proxy(archive).get("/studies/1.2/series/3.4/instances", "limit=5&00100020=A*", headers, ROOT)
    ((path, asked),) = archive["asked"]
    assert path == "/dicom-web/studies/1.2/series/3.4/instances?limit=5&00100020=A*"
    assert asked["Accept"] == "multipart/related"
    assert "Cookie" not in asked
    assert "Authorization" not in asked


def test_addresses_in_json_become_ours(archive):
    archive["body"] = f'[{{"7FE00010": {{"BulkDataURI": "{archive["url"]}/studies/1/bulk/2"}}}}]'.encode()
    passed = proxy(archive).get("/studies/1/metadata", "", {}, ROOT)
    assert (
        b"".join(passed.content) == f'[{{"7FE00010": {{"BulkDataURI": "{ROOT}/studies/1/bulk/2"}}}}]'.encode()
    )
    assert passed.headers == {"Content-Type": "application/dicom+json"}


def test_large_answers_come_piece_by_piece(archive):
    archive |= {"body": bytes(500_000), "type": 'multipart/related; type="application/dicom"; boundary=b'}
    passed = proxy(archive).get("/studies/1", "", {}, ROOT)
    pieces = list(passed.content)
    assert (len(pieces) > 5, sum(map(len, pieces))) == (True, 500_000)
    assert passed.headers["Content-Type"].endswith("boundary=b")


@pytest.mark.parametrize("status", [204, 400, 404, 406])
def test_the_archives_own_status_is_passed_on(archive, status):
    archive |= {"status": status, "body": b""}
    assert proxy(archive).get("/studies", "", {}, ROOT).status == status


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/system",
        "/studies/..",
        "/studies/../../tools",
        "/studies/1%2f",
        "/studies/1?x",
        "/studies/ä",
    ],
)
def test_other_paths_are_not_asked_for(archive, path):
    with pytest.raises(NotFoundError):
        proxy(archive).get(path, "", {}, ROOT)
    assert archive["asked"] == []


def test_wrong_credentials_are_a_sentence(archive):
    archive["status"] = 401
    with pytest.raises(StorageError, match=r"HTTP status 401.*Check user name and password"):
        proxy(archive).get("/studies", "", {}, ROOT)


def test_an_archive_that_is_away_is_a_sentence():
    away = ArchiveProxy(ArchiveAccess("http://127.0.0.1:9/dicom-web"))
    with pytest.raises(StorageError, match="does not answer"):
        away.get("/studies", "", {}, ROOT)


def test_an_archive_that_hangs_is_waited_for_only_so_long(monkeypatch):
    monkeypatch.setattr("dermcheck.datastore.archive_access._READ_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = ArchiveProxy(ArchiveAccess(f"http://127.0.0.1:{silent.getsockname()[1]}/dicom-web"))
        with pytest.raises(StorageError, match="ReadTimeout"):
            hanging.get("/studies", "", {}, ROOT)


# ---- log-in ----


def authorization(archive: dict) -> str | None:
    proxy(archive).get("/studies", "", {}, ROOT)
    return archive["asked"][-1][1].get("Authorization")


def test_without_a_log_in_none_is_sent(archive, monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert authorization(archive) is None


def test_user_and_password_come_from_the_environment_or_a_file(archive, monkeypatch, tmp_path):
    monkeypatch.setenv("DERMCHECK_PACS_USER", "doctor")
    monkeypatch.setenv("DERMCHECK_PACS_PASSWORD", "sëcret")
    basic = "Basic ZG9jdG9yOnPDq2NyZXQ="
    assert authorization(archive) == basic
    (tmp_path / "password").write_text("sëcret\n", encoding="utf-8")
    monkeypatch.delenv("DERMCHECK_PACS_PASSWORD")
    monkeypatch.setenv("DERMCHECK_PACS_PASSWORD_FILE", str(tmp_path / "password"))
    assert authorization(archive) == basic


def test_a_token_file_is_read_for_each_request(archive, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("first\n")
    monkeypatch.setenv("DERMCHECK_PACS_TOKEN_FILE", str(tmp_path / "token"))
    service = proxy(archive)
    for token in ("first", "second"):
        (tmp_path / "token").write_text(token)
        service.get("/studies", "", {}, ROOT)
        assert archive["asked"][-1][1]["Authorization"] == f"Bearer {token}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DERMCHECK_PACS_TOKEN_FILE", "/no/such/file"),
        ("DERMCHECK_PACS_CA", "/no/such/file"),
        ("DERMCHECK_PACS_MODALITIES", "DMS;XC"),
    ],
)
def test_a_wrong_setting_is_a_sentence_that_names_it(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ArgumentError, match=name):
        ArchiveAccess.from_environment("http://pacs/dicom-web")


def test_modalities_can_be_chosen(monkeypatch):
    monkeypatch.setenv("DERMCHECK_PACS_MODALITIES", "dms, XC")
    assert ArchiveAccess.from_environment("http://pacs/dicom-web/").modalities == ("DMS", "XC")


def test_the_password_is_in_no_address(monkeypatch):
    access = ArchiveAccess.from_environment("http://doctor:secret@pacs/dicom-web/")
    assert access.url == "http://pacs/dicom-web"
    assert "secret" not in repr(access)
