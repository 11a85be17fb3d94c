import stat
from pathlib import Path

import pytest

from dermcheck.datastore.locations import CACHE_VARIABLE, cache_root, studies_cache
from dermcheck.errors import ArgumentError, StorageError


def test_the_argument_comes_before_the_environment_and_that_before_the_platform(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "platform"))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert cache_root() == tmp_path / "platform" / "dermcheck"
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "environment"))
    assert cache_root() == tmp_path / "environment"
    assert cache_root(tmp_path / "argument") == tmp_path / "argument"


def test_a_relative_platform_folder_counts_as_unset(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert cache_root() == Path.home() / ".cache" / "dermcheck"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("clinic/photos", "research/photos"),
        ("http://localhost:8042/dicom-web", "http://localhost:8043/dicom-web"),
        ("日本語", "中文字"),
    ],
)
def test_two_places_never_share_a_cache(tmp_path, one, other):
    assert studies_cache(one, tmp_path) != studies_cache(other, tmp_path)


def test_one_place_keeps_its_cache_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "link").symlink_to("studies")
    cache = tmp_path / "cache"
    expected = studies_cache(tmp_path / "studies", cache)
    assert studies_cache("studies/", cache) == studies_cache("link", cache) == expected
    assert studies_cache("http://pacs/", cache) == studies_cache("http://pacs", cache)


def test_only_the_owner_can_read_the_cache(tmp_path):
    folder = studies_cache(tmp_path / "studies", tmp_path / "cache")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_cache_inside_the_studies_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"lies inside the studies folder.*DERMCHECK_CACHE"):
        studies_cache(tmp_path, tmp_path / "cache")


def test_a_cache_that_cannot_be_made_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot be made.*DERMCHECK_CACHE"):
        studies_cache("studies", tmp_path / "file")
