"""Start, failure to start, and end of the server, as a user at a terminal sees them."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from dermcheck.datastore import StudyStore
from dermcheck.lesions import LESION_CLASSES

DIAGNOSES = [lesion.meaning for lesion in LESION_CLASSES]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, mounted on a folder."""
    place = tmp_path / "small disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a disk (root): {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def small_server(
    small_disk: Path,
    start: Callable[..., Any],
    serve_command: list[str],
    free_port: Callable[[], int],
    make_photograph: Callable[..., Any],
    models: Path,
) -> Any:
    """A server on that disk, with one photograph."""
    make_photograph(200, 150, 4).save_as(small_disk / "photo.dcm", enforce_file_format=True)
    port = free_port()
    command = [*serve_command, "--studies", str(small_disk), "--models", str(models), "--port", str(port)]
    return start(command, small_disk, port)


@pytest.fixture
def run_serve(
    serve_command: list[str], environment: Callable[[], dict[str, str]]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `dermcheck serve` where it must give up by itself."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*serve_command, *arguments],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


def assert_one_sentence(done: subprocess.CompletedProcess[str], status: int, *parts: str) -> None:
    assert done.returncode == status, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert part in lines[0]


def test_ready_server_says_what_to_open_and_ctrl_c_ends_it_cleanly(
    start, serve_command, free_port, make_photograph, models, tmp_path
):
    studies, port = tmp_path / "Meine Studien", free_port()
    studies.mkdir()
    make_photograph(64, 48, 6).save_as(studies / "Foto ü.dcm", enforce_file_format=True)
    command = [*serve_command, "--studies", str(studies), "--models", str(models), "--port", str(port)]
    server = start(command, studies, port)
    said = server.log.read_text()
    assert f"http://127.0.0.1:{port}, then Next Sample" in said
    assert f"Browser    http://127.0.0.1:{port}\n" in said
    assert f"{studies} (1 photographs)" in said
    assert "Research use only" in said
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0
    assert server.log.read_text().splitlines()[-1] == "DermCheck has stopped."
    assert "Traceback" not in server.log.read_text()


def test_start_page_names_the_next_step_and_loads_nothing_from_elsewhere(server):
    page = server.get("/").text
    assert "3D Slicer" in page
    assert "Research use only" in page
    assert "http" not in page.replace("<!DOCTYPE html>", "")
    assert "default-src 'self'" in server.get("/").headers["content-security-policy"]
    assert "Nur für die Forschung" in server.get("/", headers={"Accept-Language": "de-AT"}).text


def test_a_taken_port_is_said_in_one_sentence(run_serve, server, tmp_path):
    port = server.address.rpartition(":")[2]
    done = run_serve("--studies", str(tmp_path), "--port", port)
    assert_one_sentence(done, 2, f"Port {port}", "--port")


def test_a_missing_studies_folder_is_said_in_one_sentence(run_serve, tmp_path):
    done = run_serve("--studies", str(tmp_path / "nowhere"))
    assert_one_sentence(done, 2, "nowhere", "missing")


def test_damaged_models_are_said_in_one_sentence(run_serve, models, tmp_path, free_port):
    shutil.copytree(models, tmp_path / "models")
    weights = tmp_path / "models" / "outliner" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    (tmp_path / "studies").mkdir()
    done = run_serve(
        "--studies",
        str(tmp_path / "studies"),
        "--models",
        str(tmp_path / "models"),
        "--port",
        str(free_port()),
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "SHA-256" in done.stderr.splitlines()[-1]


def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(small_server, small_disk, tmp_path):
    store = StudyStore.open(small_disk, tmp_path / "cache", watch=False)
    (image_id,) = store.image_ids()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(3_000_000))
    full = _submit(small_server, image_id)
    assert full.status_code == 507, full.text
    assert {path.name for path in small_disk.iterdir()} == {"photo.dcm", "filler"}
    store.refresh()
    assert store.labels(image_id) == []
    filler.unlink()
    assert _submit(small_server, image_id).ok
    store.refresh()
    assert len(store.labels(image_id)) == 1


def test_a_read_only_studies_folder_is_said_in_a_sentence(small_server, small_disk, tmp_path):
    store = StudyStore.open(small_disk, tmp_path / "cache", watch=False)
    (image_id,) = store.image_ids()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused = _submit(small_server, image_id)
    assert refused.status_code == 503, refused.text
    assert "read-only" in refused.json()["detail"]
    assert small_server.post("/infer/dermcheck", params={"image": image_id}).ok
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert _submit(small_server, image_id).ok
    nothing_left = small_server.post("/activelearning/random")
    assert nothing_left.ok
    assert "id" not in nothing_left.json()
    assert "All 1 photographs have a label" in nothing_left.json()["detail"]


def _submit(server: Any, image_id: str) -> Any:
    folder = Path(server.temporary_files) / "made by the test"
    folder.mkdir(exist_ok=True)
    path = folder / "mask.nii.gz"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ones((1, 150, 200), np.uint8)), str(path))
    with path.open("rb") as label:
        return server.put(
            "/datastore/label",
            params={"image": image_id},
            files={
                "label": ("mask.nii.gz", label),
                "params": (None, '{"label_info": [{"name": "Melanoma"}]}'),
            },
        )
