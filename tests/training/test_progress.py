import json
import logging

from dermcheck.training.progress import Progress, ProgressFile, Reporter, read_progress


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "new folder" / "progress.json"
    progress = Progress(task="classification", phase="training", epoch=2, total_epochs=5, best_metric=0.75)
    ProgressFile(path)(progress)
    assert read_progress(path) == progress


def test_what_is_not_known_yet_is_left_out(tmp_path):
    """3D Slicer's plug-in fails on a best_metric that is null."""
    path = tmp_path / "progress.json"
    ProgressFile(path)(Progress(task="classification"))
    assert "best_metric" not in json.loads(path.read_text())


def test_no_part_of_a_file_is_ever_read(tmp_path):
    path = tmp_path / "progress.json"
    write = ProgressFile(path)
    write(Progress(task="classification"))
    with path.open() as reader:
        write(Progress(task="classification", phase="finished"))
        assert json.load(reader)["phase"] == "reading"
    assert [each.name for each in tmp_path.iterdir()] == ["progress.json"]


def test_nothing_or_nonsense_is_no_progress(tmp_path):
    path = tmp_path / "progress.json"
    assert read_progress(path) is None
    for content in ("", "[]", "{}", '{"task": "x", "phase": "flying"}', "\x00\xff"):
        path.write_text(content)
        assert read_progress(path) is None


def test_fields_of_a_newer_version_are_passed_over(tmp_path):
    path = tmp_path / "progress.json"
    path.write_text('{"task": "segmentation", "phase": "training", "colour": "blue"}')
    assert read_progress(path) == Progress(task="segmentation", phase="training")


def test_a_disk_that_refuses_is_said_once_and_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").touch()
    write = ProgressFile(tmp_path / "file" / "progress.json")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            write(Progress(task="classification"))
    assert len(caplog.records) == 1


def test_every_listener_hears_every_change():
    heard: list[Progress] = []
    reporter = Reporter(Progress(task="classification"), [heard.append, heard.append])
    reporter.update(epoch=1)
    reporter.update(phase="finished")
    assert [(each.epoch, each.phase) for each in heard] == [(1, "reading")] * 2 + [(1, "finished")] * 2
