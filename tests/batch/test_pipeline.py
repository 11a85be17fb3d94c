"""Stages that overlap give what one after the other would, and one bad photograph costs no other."""

import io
import pickle
import zlib
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermcheck.batch import BatchSettings, run_batch, stages
from dermcheck.batch.discovery import walk
from dermcheck.batch.encoding import dicom_forms
from dermcheck.batch.inputs import LocalSource
from dermcheck.batch.masks_png import mask_of_png, mask_png
from dermcheck.batch.pipeline import Pipeline
from dermcheck.batch.result_cache import ResultCache
from dermcheck.batch.stages import Answer, Refused, Wanted
from dermcheck.dicom.photograph import read_picture
from dermcheck.inference import Predictor

WANTED = Wanted(masks=True, dicom=True, short_side=128, made_at=datetime(2026, 11, 28, tzinfo=timezone.utc))


class Reluctant:
    """A predictor whose networks fail whenever a photograph of a certain width is among their inputs."""

    def __init__(self, predictor: Predictor, width: int) -> None:
        self._predictor, self._width = predictor, width
        self.batches: list[int] = []
        self.prepare, self.finish = predictor.prepare, predictor.finish

    def compute(self, photographs: Sequence) -> list:
        self.batches.append(len(photographs))
        if any(photograph.columns == self._width for photograph in photographs):
            raise RuntimeError("not this one")
        return self._predictor.compute(photographs)


def outcomes(folder: Path, predictor) -> dict[str, Answer | Refused]:
    with Pipeline(WANTED, lambda: predictor, LocalSource(folder, folder.parent / "out")) as pipeline:
        return {file.path.name: found for file, found in pipeline.run(walk(folder))}


def test_a_photograph_that_the_networks_cannot_take_costs_no_other(tmp_path, draw_photo, predictor):
    for seed in range(5):
        draw_photo(tmp_path / f"in/{seed}.png", seed, columns=90 if seed == 2 else 80)
    reluctant = Reluctant(predictor, 90)
    found = outcomes(tmp_path / "in", reluctant)
    assert list(found) == [f"{seed}.png" for seed in range(5)]
    assert [isinstance(each, Answer) for each in found.values()] == [True, True, False, True, True]
    assert found["2.png"].reason.startswith("2.png: unexpected RuntimeError at ")
    assert reluctant.batches == [5, 1, 1, 1, 1, 1]  # together, then one by one


def test_everything_between_two_stages_can_be_sent_elsewhere(tmp_path, draw_photo, predictor):
    draw_photo(tmp_path / "in/a.jpg", 3)
    [file] = walk(tmp_path / "in")
    kind, content = pickle.loads(pickle.dumps(stages.load(file, file.path)))
    read = stages.read(file, file.path, kind, content, stages.content_digest(content), WANTED)
    prepared = stages.prepare(file, file.path, pickle.loads(pickle.dumps(read)), predictor)
    [computed] = stages.compute([pickle.loads(pickle.dumps(prepared))], predictor)
    computed = pickle.loads(pickle.dumps(computed))
    forms = dicom_forms(WANTED.made_at)
    answer = stages.finish(file, file.path, computed, WANTED, predictor, forms)
    answer = pickle.loads(pickle.dumps(answer))
    expected = predictor.predict(read_picture(file.path))
    assert answer.prediction.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert list(answer.files) == ["mask", "photo", "seg", "sr"]
    assert answer.files["mask"] == mask_png(expected.mask)


def test_a_picture_that_repeats_is_computed_once(tmp_path, draw_photo, predictor):
    first = draw_photo(tmp_path / "in/000.png", 1)
    for number in range(1, 160):  # more than can be on their way at the same time come before the copy
        draw_photo(tmp_path / f"in/{number:03}.png", number + 1, rows=16, columns=16)
    (tmp_path / "in/copy.png").write_bytes(first.read_bytes())
    counting = Reluctant(predictor, -1)
    found = outcomes(tmp_path / "in", counting)
    assert sum(counting.batches) == 160
    assert found["copy.png"].prediction == found["000.png"].prediction
    assert found["copy.png"].files == found["000.png"].files


def test_the_cache_keeps_what_was_used_last_and_no_more_than_it_may(tmp_path, draw_photo, predictor):
    draw_photo(tmp_path / "in/a.png", 1)
    [answer] = outcomes(tmp_path / "in", predictor).values()
    cache = ResultCache(most_bytes=400_000)
    size = 4096 + sum(map(len, answer.files.values()))
    copies = [
        Answer(bytes([number]), None, answer.prediction, answer.files, 0.0)
        for number in range(400_000 // size + 3)
    ]
    for copy in copies:
        cache.put(copy)
        assert cache.get(copies[0].digest) is copies[0]
    kept = [copy for copy in copies if cache.get(copy.digest)]
    assert len(kept) == 400_000 // size
    assert copies[1] not in kept


@pytest.mark.parametrize("small_px", [0, 1 << 18])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 17), (1, 300), (300, 1), (7, 258), (600, 513)])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 1])
def test_a_mask_is_an_8_bit_png_of_0_and_255(shape, share, small_px, monkeypatch):
    monkeypatch.setattr("dermcheck.batch.masks_png._SMALL_PX", small_px)  # written by edges, or by zlib
    mask = np.random.default_rng(0).random(shape) < share
    mask[shape[0] // 3 :, shape[1] // 2 :] |= bool(share)  # long runs too
    content = mask_png(mask)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.mode == "L"
        assert np.array_equal(np.asarray(picture), mask * np.uint8(255))
    start, end = content.index(b"IDAT"), content.index(b"IEND")
    unpacker = zlib.decompressobj()  # which checks the sum at the end, as Pillow does not
    assert len(unpacker.decompress(content[start + 4 : end - 8])) == shape[0] * (shape[1] + 1)
    assert unpacker.eof
    assert not unpacker.unused_data
    assert np.array_equal(mask_of_png(content), mask)


def test_a_large_jpeg_keeps_its_size_decision_and_mask_when_it_is_decoded_reduced(
    tmp_path, draw_photo, predictor, models, read_table
):
    path = draw_photo(tmp_path / "in/large.jpg", 3, rows=1100, columns=1500)
    assert read_picture(path, 128).shape == (138, 188, 3)
    run_batch(BatchSettings(tmp_path / "in", tmp_path / "out", models, masks=True))
    with Image.open(tmp_path / "out/masks/large_segmentation.png") as picture:
        mask = np.asarray(picture) > 0
    whole = predictor.predict(read_picture(path))
    assert mask.shape == whole.mask.shape == (1100, 1500)
    assert (mask & whole.mask).sum() / (mask | whole.mask).sum() > 0.98
    [row] = read_table(tmp_path / "out/cautions.csv")
    assert row["decision"] == whole.decision.name
