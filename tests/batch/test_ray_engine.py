"""The stages on a cluster of two nodes, one of which loses its worker."""

import os
import signal
import threading
import time
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from dermcheck.batch import BatchSettings, run_batch
from dermcheck.batch.inputs import open_source
from dermcheck.batch.ray_engine import RayPipeline
from dermcheck.batch.stages import Answer, Wanted
from dermcheck.errors import StorageError
from dermcheck.inference import Predictor

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes on this computer."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        room = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
        nodes = Cluster(initialize_head=True, head_node_args=room | {"include_dashboard": False})
        nodes.add_node(**room)
        ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
        yield nodes
        ray.shutdown()
        nodes.shutdown()


def worker_processes() -> list[int]:
    """Process ids of all workers at work."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if b"ray::_Worker" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def test_two_nodes_write_what_one_machine_writes_though_a_worker_is_killed(
    cluster, tmp_path, draw_photo, models
):
    for seed in range(100):  # two chunks
        draw_photo(tmp_path / f"in/{seed:03}.jpg", seed, rows=120, columns=160)
    (tmp_path / "in/broken.jpg").touch()
    run_batch(BatchSettings(tmp_path / "in", tmp_path / "one", models, masks=True))
    killed = []

    def kill_one() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            for pid in worker_processes()[:1]:
                time.sleep(0.2)
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one)
    killer.start()
    tally = run_batch(BatchSettings(tmp_path / "in", tmp_path / "two", models, masks=True, engine="ray"))
    killer.join()
    assert killed
    assert (tally.predicted, tally.failed) == (100, 1)
    files = sorted(
        path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*") if path.is_file()
    )
    for name in files:
        if not name.name.startswith((".derm", "dermcheck_batch")):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_nodes_fetch_the_photographs_of_an_archive_and_say_in_a_sentence_when_it_is_lost(
    cluster, tmp_path, draw_dicom, send, models, pacs, relay
):
    sent = {send(seed).SOPInstanceUID for seed in range(3)}
    connection = relay(pacs)
    source = open_source(connection.address, tmp_path / "out")
    wanted = Wanted(masks=False, dicom=True, short_side=None, made_at=datetime.now().astimezone())
    with RayPipeline(wanted, partial(Predictor.load, models), source) as pipeline:
        answered = [outcome for _, outcome in pipeline.run(source.findings())]
        assert {outcome.sop_instance_uid for outcome in answered} == sent
        assert all(isinstance(outcome, Answer) and "seg" in outcome.files for outcome in answered)
        connection.lose_after_instances = 0
        with pytest.raises(StorageError) as raised:
            list(pipeline.run(source.findings()))
    assert "the archive does not answer" in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert not (tmp_path / "out").exists()  # nodes keep their copies to themselves
