"""A real archive (Orthanc) as input, and results stored in it or in a studies folder, once."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import requests
from pydicom import dcmread

from dermcheck.batch import BatchSettings, Tally, run_batch
from dermcheck.batch.inputs import ArchiveQuery, open_source
from dermcheck.batch.status import read_status
from dermcheck.batch.store import StoreTally
from dermcheck.cli import main
from dermcheck.dicom.references import referenced_images
from dermcheck.errors import ArgumentError, NotFoundError, StorageError


@pytest.fixture
def batch(tmp_path, pacs, models) -> Callable[..., Tally]:
    def run(output: str = "out", **options) -> Tally:
        return run_batch(BatchSettings(pacs, tmp_path / output, **{"models": models, **options}))

    return run


def stored_objects(pacs: str, modality: str) -> list[dict]:
    answer = requests.get(f"{pacs}/instances", params={"Modality": modality}, timeout=10)
    return answer.json() if answer.status_code == 200 else []


def test_photographs_of_an_archive_are_predicted_as_files_are(
    tmp_path, pacs, send, batch, read_table, models
):
    sent = [send(seed) for seed in range(3)]
    assert batch().predicted == 3
    rows = read_table(tmp_path / "out/predictions.csv")
    assert {row["image"] for row in rows} == {dataset.SOPInstanceUID for dataset in sent}
    run_batch(BatchSettings(tmp_path / "sent", tmp_path / "from_files", models))
    files = read_table(tmp_path / "from_files/predictions.csv")
    assert sorted(rows, key=str) == sorted(files, key=str)
    assert not (tmp_path / "out/.partial").exists()
    assert batch() == Tally(found=3, already=3)


def test_a_query_chooses_by_modality_and_day(pacs, send, tmp_path):
    first = send(1, StudyDate="20240601", Modality="XC")
    second = send(2, StudyDate="20250601", Modality="DMS")
    send(3, StudyDate="20250601", Modality="CT")

    def found(modality: str | None, date: str | None) -> set[str]:
        source = open_source(pacs, tmp_path / "out", ArchiveQuery.from_options(modality, date))
        return {one.relative.parts[-1] for one in source.findings()}

    assert found(None, None) == {first.SOPInstanceUID, second.SOPInstanceUID}
    assert found("DMS", None) == {second.SOPInstanceUID}
    assert found(None, "-20241231") == {first.SOPInstanceUID}
    with pytest.raises(NotFoundError, match="holds nothing of modality XC"):
        found("XC", "20250101-")


def test_results_are_stored_once_for_each_version_of_the_models(pacs, send, batch, tmp_path, other_models):
    sent = {send(seed).SOPInstanceUID for seed in range(2)}
    assert batch(dicom=True, store=True).stored.stored == 2
    segmentations = stored_objects(pacs, "SEG")
    assert len(segmentations) == len(stored_objects(pacs, "SR")) == 2
    referred = set()
    for path in (tmp_path / "out/dicom").glob("*.seg.dcm"):
        referred.update(referenced_images(dcmread(path)))
    assert referred == sent
    assert batch(dicom=True, store=True).stored.stored == 0  # the journal knows
    again = batch("without_journal", dicom=True, store=True).stored  # the archive knows
    assert (again.stored, again.already) == (0, 2)
    assert stored_objects(pacs, "SEG") == segmentations
    assert batch("other", dicom=True, store=True, models=other_models).stored.stored == 2
    assert len(stored_objects(pacs, "SEG")) == 4


def test_an_instance_that_is_gone_is_a_failure_and_the_others_are_predicted(
    pacs, send, batch, read_table, tmp_path
):
    sent = [send(seed) for seed in range(2)]
    source = open_source(pacs, tmp_path / "out")
    gone, kept = source.findings()
    address = pacs.removesuffix("/dicom-web")
    [found] = requests.post(f"{address}/tools/lookup", data=gone.relative.parts[-1], timeout=10).json()
    requests.delete(f"{address}/instances/{found['ID']}", timeout=10).raise_for_status()
    with pytest.raises(NotFoundError, match="the archive does not have it"):
        source.fetch(gone)
    path = source.fetch(kept)
    assert dcmread(path).SOPInstanceUID in {dataset.SOPInstanceUID for dataset in sent}
    source.release(kept)
    assert not path.exists()


def test_a_lost_network_stops_the_batch_in_words_and_the_next_run_goes_on(
    pacs, send, tmp_path, models, relay, read_table
):
    for seed in range(6):
        send(seed)
    connection = relay(pacs)
    settings = BatchSettings(connection.address, tmp_path / "out", models, masks=True)
    connection.lose_after_instances = 3
    with pytest.raises(StorageError, match=r"does not answer .* goes on where it stopped"):
        run_batch(settings)
    assert not (tmp_path / "out/predictions.csv").exists()
    connection.lose_after_instances = None
    tally = run_batch(settings)
    assert tally.predicted + tally.already == 6
    assert tally.failed == 0
    run_batch(BatchSettings(pacs, tmp_path / "undisturbed", models, masks=True))
    for name in ("predictions.csv", "cautions.csv", "failures.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_an_archive_that_is_not_there_is_a_sentence(free_port, tmp_path, capsys):
    address = f"http://reader:secret@127.0.0.1:{free_port()}/dicom-web"
    assert main(["batch", address, "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "the archive does not answer" in said
    assert "secret" not in said
    assert not (tmp_path / "out").exists()


def test_results_are_stored_beside_the_photographs_of_a_folder_once(tmp_path, draw_dicom, draw_photo, models):
    for seed in range(2):
        path = tmp_path / f"in/{seed}.dcm"
        draw_dicom(path, seed).save_as(path, enforce_file_format=True)
    draw_photo(tmp_path / "in/photo.jpg", 3)
    settings = BatchSettings(tmp_path / "in", tmp_path / "out", models, dicom=True, store=True)
    stored = run_batch(settings).stored
    assert (stored.stored, stored.not_dicom) == (2, 1)
    files = sorted(path.name for path in (tmp_path / "in").glob("*.dcm"))
    assert len(files) == 6
    second = run_batch(settings)
    assert (second.predicted, second.stored.stored) == (0, 0)
    assert second.skipped.total() == 4
    assert (
        run_batch(
            BatchSettings(tmp_path / "in", tmp_path / "out2", models, dicom=True, store=True)
        ).stored.already
        == 2
    )
    assert sorted(path.name for path in (tmp_path / "in").glob("*.dcm")) == files


def test_a_list_has_no_place_to_store_into(tmp_path, draw_photo, models):
    draw_photo(tmp_path / "a.jpg")
    (tmp_path / "list.csv").write_text("path\na.jpg\n")
    with pytest.raises(ArgumentError, match="--store needs a folder or an archive's address"):
        run_batch(BatchSettings(tmp_path / "list.csv", tmp_path / "out", models, dicom=True, store=True))


def test_other_probabilities_never_come_under_a_uid_that_was_given_already(
    tmp_path, draw_dicom, models, monkeypatch
):
    draw_dicom(tmp_path / "in/0.dcm").save_as(tmp_path / "in/0.dcm", enforce_file_format=True)
    settings = BatchSettings(tmp_path / "in", tmp_path / "out", models, dicom=True, store=True)
    run_batch(settings)
    monkeypatch.setenv("DERMCHECK_PRIOR", "akiec=2%,bcc=4%,bkl=12%,df=1%,mel=1%,nv=79%,vasc=1%")
    again = run_batch(replace(settings, redo="changed"))
    assert again.stored == StoreTally(stored=1)
    assert len(list((tmp_path / "in").glob("*.dcm"))) == 5


def test_a_batch_that_was_stopped_while_it_stored_is_not_finished(tmp_path, draw_dicom, models):
    for seed in range(2):
        draw_dicom(tmp_path / f"in/{seed}.dcm", seed).save_as(
            tmp_path / f"in/{seed}.dcm", enforce_file_format=True
        )
    settings = BatchSettings(tmp_path / "in", tmp_path / "out", models, dicom=True, store=True)

    def stop(tally: StoreTally, total: int) -> None:
        assert total == 2
        if tally.stored == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(settings, on_stored=stop)
    status = read_status(tmp_path / "out")
    assert (status.is_finished, status.predicted, status.stored) == (False, 2, 1)
    assert "Run the same command again" in status.in_words()
    assert run_batch(settings).stored == StoreTally(stored=1)
    assert read_status(tmp_path / "out").is_finished
