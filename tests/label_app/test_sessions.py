import io
import os
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dermcheck.errors import ArgumentError, NotFoundError, StorageError, UnreadableImageError
from dermcheck.label_app.sessions import PhotographSessions, safe_file_name
from dermcheck.label_app.source_image import SentPhotograph


@pytest.fixture
def sessions(tmp_path: Path) -> PhotographSessions:
    return PhotographSessions(str(tmp_path / "sessions"), 3600)


@pytest.fixture
def png(pixels) -> io.BytesIO:
    content = io.BytesIO()
    Image.fromarray(pixels()).save(content, "PNG")
    content.seek(0)
    return content


def test_a_kept_photograph_is_given_as_it_was_sent(sessions, png):
    session_id, _ = sessions.keep(png, "photo.png")
    assert sessions.photograph(session_id) == SentPhotograph("photo.png", png.getvalue())


def test_a_session_outlives_the_server(sessions, png):
    session_id, _ = sessions.keep(png, "photo.png")
    restarted = PhotographSessions(sessions.store_path, 3600)
    assert restarted.photograph(session_id).content == png.getvalue()


def test_nothing_is_kept_of_what_is_no_photograph(sessions):
    with pytest.raises(UnreadableImageError, match=r"^notes.png: "):
        sessions.keep(io.BytesIO(b"no picture"), "notes.png")
    assert list(Path(sessions.store_path).iterdir()) == []


def test_a_clients_file_name_stays_inside_the_sessions_folder(sessions, png, tmp_path):
    sessions.keep(png, "../../../outside.png")
    assert [path.name for path in tmp_path.rglob("*.png")] == ["outside.png"]
    assert next(tmp_path.rglob("*.png")).is_relative_to(sessions.store_path)


@pytest.mark.parametrize("session_id", ["", ".", "..", "../sessions", "/", "x", "%2e%2e"])
def test_what_is_no_id_names_no_session(sessions, session_id):
    (Path(sessions.store_path) / "meta.info").write_text('{"image": "/etc/passwd", "expiry": 60}')
    assert sessions.get_session(session_id) is None
    with pytest.raises(NotFoundError, match="no session"):
        sessions.photograph(session_id)


def test_removing_an_unknown_session_removes_nothing(sessions, png):
    session_id, _ = sessions.keep(png, "photo.png")
    for other in ("..", "", str(uuid.uuid4())):
        sessions.remove_session(other)
    assert sessions.get_session(session_id) is not None


def test_a_removed_session_is_gone_with_its_photograph(sessions, png):
    session_id, _ = sessions.keep(png, "photo.png")
    sessions.remove_session(session_id)
    assert sessions.get_session(session_id) is None
    assert list(Path(sessions.store_path).iterdir()) == []


def test_only_unused_sessions_expire_and_leftovers_of_a_crash_go_with_them(sessions, png):
    fresh, _ = sessions.keep(io.BytesIO(png.getvalue()), "photo.png")
    stale, info = sessions.keep(png, "photo.png", expiry=60)
    info.last_access_ts = int(time.time()) - 100
    leftover = Path(sessions.store_path) / str(uuid.uuid4())
    leftover.mkdir()
    os.utime(leftover, (0, 0))
    assert sessions.remove_expired() == 2
    assert [path.name for path in Path(sessions.store_path).iterdir()] == [fresh]
    assert sessions.get_session(stale) is None


@pytest.mark.parametrize(("asked", "given"), [(0, 3600), (60, 60), (10**9, 3600), (-5, 3600)])
def test_a_client_can_only_shorten_the_time(sessions, png, asked, given):
    assert sessions.keep(png, "photo.png", asked)[1].expiry == given


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_uploaded_photographs_are_for_the_servers_account_alone(sessions, png):
    session_id, _ = sessions.keep(png, "photo.png")
    for folder in (Path(sessions.store_path), Path(sessions.store_path) / session_id):
        assert folder.stat().st_mode & 0o077 == 0


def test_monai_labels_own_way_in_is_closed(sessions, tmp_path):
    with pytest.raises(ArgumentError, match="single file"):
        sessions.add_session(str(tmp_path), uncompress=True)


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be made"):
        PhotographSessions(str(tmp_path / "file" / "sessions"), 3600)


@given(st.text())
def test_a_safe_file_name_is_one_part_of_a_path(name):
    safe = safe_file_name(name)
    assert Path(safe).name == safe
    assert 0 < len(safe) <= 100
    assert safe not in (".", "..")
    assert safe_file_name(safe) == safe
