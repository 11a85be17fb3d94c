"""Installing the optional viewer from a file that may be anything."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from dermcheck.errors import ArgumentError, NotFoundError, StorageError
from dermcheck.viewer import installation
from dermcheck.viewer.bundles import DEFAULT, Bundle, BundleError, digest


def make_package(path: Path, names: dict[str, str | tarfile.TarInfo]) -> None:
    with tarfile.open(path, "w:gz") as package:
        for name, content in names.items():
            if isinstance(content, tarfile.TarInfo):
                package.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            package.addfile(member, io.BytesIO(content.encode()))


FILES = {
    "package/package.json": "{}",
    "package/dist/index.html": "page",
    "package/dist/inner/a.js": "1",
    "package/dist/ort/big.wasm": "not needed",
}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Make a package known as the tested one, with the digest of what it should unpack to."""

    def make(names=FILES, content_digest: str | None = None) -> Path:
        package = tmp_path / "package.tgz"
        make_package(package, names)
        expected = tmp_path / "expected"
        (expected / "inner").mkdir(parents=True, exist_ok=True)
        (expected / "index.html").write_text("page")
        (expected / "inner" / "a.js").write_text("1")
        sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
        bundle = Bundle("other", "9", "/", content_digest or digest(expected), sha256)
        monkeypatch.setattr(installation, "BUNDLES", {DEFAULT.name: DEFAULT, "other": bundle})
        return package

    return make


def test_what_is_installed_can_be_used_and_left_again(known, tmp_path):
    root = tmp_path / "viewers"
    assert installation.chosen_bundle(root)[0] == DEFAULT
    known()
    with pytest.raises(NotFoundError, match=r"not installed.*npm pack"):
        installation.use_bundle("other", root)
    installation.install_bundle(known(), root)
    assert sorted(p.name for p in (root / "other").rglob("*") if p.is_file()) == ["a.js", "index.html"]
    installation.use_bundle("other", root)
    bundle, folder = installation.chosen_bundle(root)
    assert (bundle.name, folder) == ("other", root / "other")
    states = {state.bundle.name: state for state in installation.list_bundles(root)}
    assert states["other"].in_use
    assert states["other"].problem is None
    installation.use_bundle(DEFAULT.name, root)
    assert installation.chosen_bundle(root)[0] == DEFAULT


def test_another_file_is_refused_before_it_is_unpacked(known, tmp_path):
    known()
    stranger = tmp_path / "stranger.tgz"
    make_package(stranger, {"package/dist/index.html": "evil"})
    with pytest.raises(ArgumentError, match=r"SHA-256 is .* expected"):
        installation.install_bundle(stranger, tmp_path / "viewers")
    assert not (tmp_path / "viewers").exists()


def test_a_missing_file_is_said_in_words(tmp_path):
    with pytest.raises(ArgumentError, match=r"nowhere.tgz: it cannot be read"):
        installation.install_bundle(tmp_path / "nowhere.tgz", tmp_path)


def link() -> tarfile.TarInfo:
    member = tarfile.TarInfo("package/dist/link")
    member.type = tarfile.SYMTYPE
    member.linkname = "/etc/passwd"
    return member


@pytest.mark.parametrize(
    "names",
    [{"package/dist/../../evil": "x"}, {"package/dist//etc/evil": "x"}, {"package/dist/link": link()}],
    ids=["upwards", "absolute", "link"],
)
def test_nothing_is_written_outside_of_the_folder(known, names, tmp_path):
    root = tmp_path / "viewers"
    with pytest.raises(BundleError, match="expected ordinary files"):
        installation.install_bundle(known({**FILES, **names}), root)
    assert not (root / "other").exists()
    assert not list(tmp_path.rglob("evil"))


def test_an_unpacked_package_with_other_files_is_not_kept(known, tmp_path):
    with pytest.raises(BundleError, match="expected 0000"):
        installation.install_bundle(known(content_digest="0" * 64), tmp_path / "viewers")
    assert not list((tmp_path / "viewers").iterdir())


def test_a_damaged_choice_says_what_to_do(tmp_path):
    (tmp_path / "viewer.json").write_text("{")
    with pytest.raises(BundleError, match=r"dermcheck viewer use ohif-3.10"):
        installation.chosen_bundle(tmp_path)
    (tmp_path / "viewer.json").write_text('{"use": "ohif-9"}')
    with pytest.raises(BundleError, match=r"'ohif-9', expected ohif-3.10 or ohif-3.13"):
        installation.chosen_bundle(tmp_path)


def test_a_folder_that_cannot_be_made_is_said_in_words(known, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="the folder of viewers cannot be written"):
        installation.install_bundle(known(), tmp_path / "file")
