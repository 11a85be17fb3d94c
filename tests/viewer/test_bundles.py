"""Which files of OHIF are served: those that were tested, and no others."""

import shutil
from pathlib import Path

import pytest

from dermcheck.viewer.bundles import DEFAULT, Bundle, BundleError, digest, wheel_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build of three files."""
    build = tmp_path / "build"
    (build / "inner").mkdir(parents=True)
    (build / "index.html").write_text("page")
    (build / "b.js").write_text("1")
    (build / "inner" / "a.js").write_text("2")
    return build


def test_the_build_that_monailabel_brings_is_the_one_that_was_tested():
    DEFAULT.check(wheel_folder())


def test_the_digest_does_not_depend_on_the_order_of_the_files(folder, tmp_path):
    other = tmp_path / "other"
    (other / "inner").mkdir(parents=True)
    for name in ("inner/a.js", "b.js", "index.html"):
        shutil.copy(folder / name, other / name)
    assert digest(other) == digest(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda build: (build / "b.js").write_text("3"),
        lambda build: (build / "b.js").rename(build / "c.js"),
        lambda build: (build / "new.js").write_text(""),
        lambda build: (build / "inner" / "a.js").unlink(),
    ],
    ids=["content", "name", "one more", "one less"],
)
def test_any_change_is_noticed(folder, change):
    bundle = Bundle("test", "1", "/", digest(folder))
    bundle.check(folder)
    change(folder)
    with pytest.raises(BundleError, match=r"OHIF 1: .*expected"):
        bundle.check(folder)


def test_missing_files_are_said_in_words(tmp_path):
    with pytest.raises(BundleError, match=r"there are no files in .*npm pack"):
        DEFAULT.check(tmp_path)
