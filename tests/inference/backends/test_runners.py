"""Every back end answers as PyTorch does, whatever is computed beside a picture."""

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from dermcheck.inference.backends import choosing, open_runner
from dermcheck.inference.backends.openvino_runner import export_openvino
from dermcheck.inference.backends.torch_runner import TorchRunner

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")
EXPORTED = pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
TASKS = pytest.mark.parametrize("task", ["classification", "segmentation"])
WORDS = {"openvino": "OpenVINO", "onnxruntime": "onnxruntime"}
SHAPES = [(32, 32), (32, 48), (48, 32), (32, 32), (8, 128), (32, 48)]


@EXPORTED
@TASKS
def test_answers_equal_torchs_for_pictures_of_several_sizes(
    tiny_model, export_cache, pictures, task, backend, monkeypatch
):
    monkeypatch.setattr(choosing, "openvino_precisions", lambda: ("f32",))
    model = tiny_model(task)
    runner = open_runner(model, backend, export_cache)
    assert runner.description.startswith(WORDS[backend])
    shown = pictures(*SHAPES)
    expected, found = TorchRunner(model.build).start(shown)(), runner.start(shown)()
    for picture, one, other in zip(shown, expected, found, strict=True):
        shapes = [(7,), (5,)] if task == "classification" else [picture.shape[:2]]
        assert [part.shape for part in other] == shapes
        assert all(part.dtype == np.float32 for part in other)
        for ours, theirs in zip(one, other, strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)
    if task == "classification":  # else equal answers would prove nothing
        assert np.ptp([answer[0] for answer in expected], axis=0).max() > 1e-3


@EXPORTED
def test_an_answer_does_not_depend_on_what_is_computed_beside_it(tiny_model, export_cache, pictures, backend):
    runner = open_runner(tiny_model("segmentation"), backend, export_cache)
    shown = pictures(*SHAPES)
    together = runner.start(shown)()
    for picture, (answer,) in zip(shown, together, strict=True):
        np.testing.assert_array_equal(runner.start([picture])()[0][0], answer)


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnxruntime"])
def test_threads_at_the_same_time_get_their_own_answers(tiny_model, export_cache, pictures, backend):
    runner = open_runner(tiny_model("classification"), backend, export_cache)
    shown = [pictures((32, 32), (40, 32), (32, 40))[i % 3] * (0.2 + i / 40) for i in range(24)]
    serial = [runner.start([picture])()[0] for picture in shown]
    with ThreadPoolExecutor(4) as pool:
        concurrent = list(pool.map(lambda picture: runner.start([picture])()[0], shown))
    for one, other in zip(serial, concurrent, strict=True):
        for ours, theirs in zip(one, other, strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6)


@EXPORTED
def test_memory_does_not_grow_with_the_number_of_pictures_and_sizes(
    tiny_model, export_cache, pictures, backend
):
    runner = open_runner(tiny_model("segmentation"), backend, export_cache)
    shown = pictures(*[(64 + 8 * (i % 9), 64 + 8 * (i % 7)) for i in range(63)])  # as many sizes

    def used_mb() -> float:
        gc.collect()
        return psutil.Process().memory_info().rss / 1e6

    def growth_mb() -> float:
        before = used_mb()
        for _ in range(12):
            runner.start(shown)()
        return used_mb() - before

    for _ in range(3):
        runner.start(shown)()
    # The inputs and answers of these 756 pictures take 90 MB, a network for each size 63 times a network.
    # What is kept grows each time; the heap of a process that has run other tests may stretch once.
    assert any(growth_mb() < 10 for _ in range(3))


SIGNAL_AFTER_RUNNERS = """
import faulthandler, gc, os, signal, sys
from pathlib import Path
import numpy as np
from dermcheck.inference.backends.openvino_runner import Lanes, OpenVINORunner

faulthandler.enable()  # gives the main thread a stack for signals, as pytest does
files = {path.name: path.read_bytes() for path in Path(sys.argv[1]).iterdir()}
runners = [OpenVINORunner(files, "f32", Lanes(1, 1)) for _ in range(4)]
for runner in runners:
    runner.start([np.zeros((32, 32, 3), np.float32)])()
del runner
while runners:
    del runners[0]
    gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("came"))
os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_signal_after_networks_were_exchanged_does_not_end_the_process(tiny_model, tmp_path):
    """Each `openvino.Core` that goes takes a signal stack with it, which the thread may still use."""
    for name, content in export_openvino(tiny_model("segmentation").build(), 32).items():
        (tmp_path / name).write_bytes(content)
    child = subprocess.run(
        [sys.executable, "-c", SIGNAL_AFTER_RUNNERS, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (child.returncode, child.stdout) == (0, "came\n"), child.stderr
