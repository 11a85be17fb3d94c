import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dermcheck.errors import ModelError
from dermcheck.inference import Predictor
from dermcheck.lesions import CLASSES
from dermcheck.networks import load_model, read_card

MEGAPIXELS_24 = (4000, 6000)


def l_shape(rows, columns, grow=0.0):
    """A letter L, upright in the upper left part; `grow` moves its outline outwards by so many pixels."""
    y, x = np.arange(rows)[:, None] + 0.5, np.arange(columns) + 0.5

    def box(top, bottom, left, right):
        inside_y = (y > top * rows - grow) & (y < bottom * rows + grow)
        return inside_y & (x > left * columns - grow) & (x < right * columns + grow)

    return box(0.1, 0.8, 0.15, 0.3) | box(0.6, 0.8, 0.15, 0.7)


def photograph_of(mask, bright=(230, 220, 210), dark=(30, 20, 40)):
    pixels = np.empty((*mask.shape, 3), np.uint8)
    pixels[:] = dark
    pixels[mask] = bright
    return pixels


SIZES = {
    "square": (300, 300),
    "landscape": (450, 600),
    "portrait": (600, 450),
    "odd": (451, 603),
    "wide and odd": (333, 777),
    "small": (61, 47),
    "large": (1536, 2048),
    "24 megapixels": MEGAPIXELS_24,
    "panorama": (300, 3000),
}


@pytest.mark.parametrize("shape", SIZES.values(), ids=SIZES)
def test_an_l_shaped_lesion_comes_back_in_its_place_and_size(plain_predictor, shape):
    lesion = l_shape(*shape)
    mask = plain_predictor.outline(photograph_of(lesion))
    assert mask.shape == shape
    assert mask.dtype == np.bool_
    # A pixel of the network's input, in pixels of the photograph, is how exact an outline can be.
    one = max(min(shape) / 192, max(shape) / 768, 1)
    assert (mask >= l_shape(*shape, grow=-one)).all()
    assert (mask <= l_shape(*shape, grow=one)).all()
    # The mean error is much smaller: the outline is neither shifted nor swollen.
    assert abs(mask.sum() / lesion.sum() - 1) < 0.03
    centres = np.argwhere(mask).mean(0), np.argwhere(lesion).mean(0)
    np.testing.assert_allclose(*centres, rtol=0, atol=one / 2)


def test_the_l_would_show_any_mirroring_or_transposition():
    lesion = l_shape(300, 300)
    for other in (lesion[::-1], lesion[:, ::-1], lesion[::-1, ::-1], lesion.T, lesion.T[::-1]):
        assert (lesion ^ other).mean() > 0.1


def test_a_photograph_without_a_lesion_has_an_empty_mask_and_still_a_diagnosis(plain_predictor):
    report = plain_predictor.predict(np.full((450, 600, 3), 40, np.uint8))
    assert report.mask.shape == (450, 600)
    assert not report.mask.any()
    assert not report.label_map().any()
    assert sum(report.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(10, 10), (1, 1), (1, 50), (50, 1), (3, 200), (2000, 100)])
def test_very_small_and_very_narrow_pictures_work(random_predictor, noise, shape):
    report = random_predictor.predict(noise(*shape))
    assert report.mask.shape == shape
    assert sum(report.probabilities.values()) == pytest.approx(1)


def test_specks_beside_a_lesion_are_not_outlined_but_a_second_lesion_is(plain_predictor):
    two = np.zeros((450, 600), np.bool_)
    two[100:300, 100:300] = two[200:300, 400:500] = True
    speck = two.copy()
    speck[400:420, 20:40] = True
    np.testing.assert_array_equal(
        plain_predictor.outline(photograph_of(speck)), plain_predictor.outline(photograph_of(two))
    )
    assert plain_predictor.outline(photograph_of(two))[250, 450]


def test_a_tiny_picture_keeps_its_lesion(plain_predictor):
    lesion = np.zeros((10, 10), np.bool_)
    lesion[2:8, 1:5] = True
    np.testing.assert_array_equal(plain_predictor.outline(photograph_of(lesion)), lesion)


@pytest.mark.parametrize(("shape", "centre"), [((100, 300), np.s_[:, 100:200]), ((300, 100), np.s_[100:200])])
def test_the_diagnosis_rests_on_the_centre_square(plain_predictor, shape, centre):
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[...] = (0, 255, 0)
    pixels[centre] = (0, 0, 255)
    diagnosis = plain_predictor.classify(pixels)
    assert diagnosis.decision.name == "bkl"  # the blue class of the colour classifier
    only_centre = plain_predictor.classify(np.ascontiguousarray(pixels[centre]))
    assert diagnosis.probabilities == pytest.approx(only_centre.probabilities, abs=1e-6)


@pytest.mark.parametrize(
    ("colour", "name"), [((255, 0, 0), "akiec"), ((0, 255, 0), "bcc"), ((0, 0, 255), "bkl")]
)
def test_red_green_and_blue_reach_the_network_in_this_order(plain_predictor, colour, name):
    pixels = np.full((200, 200, 3), colour, np.uint8)
    diagnosis = plain_predictor.classify(pixels)
    assert max(diagnosis.probabilities, key=diagnosis.probabilities.__getitem__) == name
    assert list(diagnosis.probabilities) == list(CLASSES)


def test_predict_agrees_with_outline_and_classify(random_predictor, noise):
    pixels = noise(450, 600)
    report, diagnosis = random_predictor.predict(pixels), random_predictor.classify(pixels)
    np.testing.assert_array_equal(report.mask, random_predictor.outline(pixels))
    assert report.probabilities == pytest.approx(diagnosis.probabilities, abs=1e-6)
    assert (report.decision, report.classifier) == (diagnosis.decision, diagnosis.classifier)
    assert report.uncertainty == pytest.approx(diagnosis.uncertainty, abs=1e-6)


def test_a_batch_of_mixed_sizes_equals_each_alone_in_order(random_predictor, noise):
    shapes = [(450, 600), (600, 450), (450, 600), (256, 256), (10, 10), (450, 600), (1536, 2048)]
    photographs = [noise(*shape, seed) for seed, shape in enumerate(shapes)]
    together = random_predictor.predict_batch(photographs)
    alone = [random_predictor.predict(pixels) for pixels in photographs]
    assert len({report.probabilities["mel"] for report in alone}) == len(alone)
    assert all(0.1 < report.mask.mean() < 0.9 for report in alone)
    for one, other in zip(together, alone, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert one.decision == other.decision
        assert (one.mask ^ other.mask).mean() < 1e-4  # pixels whose logit is 0 but for rounding


def test_the_three_steps_are_a_prediction_and_may_run_in_several_processes(random_predictor, noise):
    pixels = noise(450, 600)
    prepared = pickle.loads(pickle.dumps(random_predictor.prepare(pixels)))
    computed = pickle.loads(pickle.dumps(random_predictor.compute([prepared])[0]))
    report, expected = random_predictor.finish(computed), random_predictor.predict(pixels)
    assert report.probabilities == expected.probabilities
    np.testing.assert_array_equal(report.mask, expected.mask)
    assert (computed.logits.shape, computed.features.shape) == ((7,), (1024,))


def test_a_photograph_decoded_at_half_size_gets_a_mask_of_its_own_size(plain_predictor):
    lesion = l_shape(900, 1200)
    photograph = photograph_of(lesion)
    report = plain_predictor.finish(
        plain_predictor.compute(
            [plain_predictor.prepare(np.ascontiguousarray(photograph[::2, ::2]), (900, 1200))]
        )[0]
    )
    assert report.mask.shape == (900, 1200)
    jaccard = (report.mask & lesion).sum() / (report.mask | lesion).sum()
    assert jaccard > 0.97


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_reference_models_answer_alike_with_every_back_end(backend, noise, tmp_path, monkeypatch):
    pytest.importorskip(backend)
    monkeypatch.setenv("DERMCHECK_CACHE", str(tmp_path))
    other, torch_predictor = Predictor.load(backend=backend), Predictor.load(backend="torch")
    assert other.backend.casefold().startswith(backend)
    assert torch_predictor.backend.startswith("torch")
    photographs = [photograph_of(l_shape(450, 600), (220, 180, 160), (110, 70, 60)), noise(256, 256)]
    for one, two in zip(
        torch_predictor.predict_batch(photographs), other.predict_batch(photographs), strict=True
    ):
        assert two.probabilities == pytest.approx(one.probabilities, abs=1e-3)
        assert two.decision == one.decision
        assert two.caution.lesion_photograph_score == pytest.approx(
            one.caution.lesion_photograph_score, abs=1e-3
        )
        assert (one.mask ^ two.mask).mean() < 1e-4


def test_an_empty_batch_gives_no_reports(random_predictor):
    assert random_predictor.predict_batch([]) == []


def test_threads_at_the_same_time_get_what_they_get_one_after_the_other(random_predictor, noise):
    photographs = [noise(300 + 8 * i, 400, seed=i) for i in range(8)]
    serial = [random_predictor.predict(pixels) for pixels in photographs]
    with ThreadPoolExecutor(4) as pool:
        concurrent = list(pool.map(random_predictor.predict, photographs * 2))
    for one, other in zip(concurrent, serial * 2, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert (one.mask ^ other.mask).mean() < 1e-4


def test_predicting_does_not_change_the_networks(random_models, noise):
    classifier, outliner = load_model(random_models / "classifier"), load_model(random_models / "outliner")
    before = [
        {name: tensor.clone() for name, tensor in network.state_dict().items()}
        for network, _ in (classifier, outliner)
    ]
    Predictor(classifier, outliner).predict(noise(450, 600))
    for state, (network, _) in zip(before, (classifier, outliner), strict=True):
        assert all((tensor == network.state_dict()[name]).all() for name, tensor in state.items())


def test_the_report_names_the_models_as_their_cards_do(random_models, random_predictor, noise):
    report = random_predictor.predict(noise(100, 100))
    for algorithm, folder in ((report.classifier, "classifier"), (report.outliner, "outliner")):
        card = read_card(random_models / folder)
        assert (algorithm.name, algorithm.version, algorithm.model_hash) == (
            card.name,
            card.version,
            card.sha256,
        )


def test_exchanged_models_are_refused(random_models):
    classifier, outliner = load_model(random_models / "classifier"), load_model(random_models / "outliner")
    with pytest.raises(
        ModelError, match=r"Test outliner 1\.0 is a model for segmentation, expected one for classif"
    ):
        Predictor(outliner, classifier)


def test_missing_models_are_a_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"card\.json: the model's card is missing"):
        Predictor.load(tmp_path)


MEASURE = """
import json, resource, sys
from pathlib import Path
import numpy as np
from dermcheck.inference import Predictor

def peak_mb():
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

predictor = Predictor.load(Path(sys.argv[1]))
photographs = [np.full((*shape, 3), 40, np.uint8) for shape in json.loads(sys.argv[2])]
for pixels in photographs:
    pixels[: len(pixels) // 2] = 200
predictor.predict(photographs[0][:450, :600])
before = peak_mb()
for pixels in photographs:
    predictor.predict(pixels)
print(json.dumps(peak_mb() - before))
"""


def test_large_photographs_cost_bounded_memory(random_models):
    pytest.importorskip("resource", reason="peak memory is measured on POSIX systems only")
    shapes = [MEGAPIXELS_24, (1000, 20_000), (20_000, 1000)]
    command = [sys.executable, "-c", MEASURE, str(random_models), json.dumps(shapes)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    growth_mb = json.loads(answer.stdout.splitlines()[-1])
    # Measured: 47 to 67 MB each (the mask is 24 of them), 86 one after the other. Logits of the
    # photograph's size would add 96 MB, a float copy of its colours 288.
    assert growth_mb < 125
