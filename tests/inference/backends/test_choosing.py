"""Which back end is taken, and that whatever fails leaves PyTorch's answers and a sentence."""

import dataclasses
import logging
import sys
import time

import numpy as np
import pytest
import torch

from dermcheck.errors import ModelError
from dermcheck.inference.backends import choosing, open_runner
from dermcheck.inference.backends.base import BackendError
from dermcheck.inference.backends.choosing import _examine
from dermcheck.inference.backends.models import RunnableModel
from dermcheck.inference.backends.openvino_runner import Lanes, OpenVINORunner
from dermcheck.inference.backends.torch_runner import TorchRunner
from dermcheck.networks import Calibration, save_model
from dermcheck.networks.checkpoint import StoredModel

EXPORTED = pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])


@pytest.fixture(autouse=True)
def told(caplog):
    caplog.set_level(logging.INFO)
    return caplog


def refuse(*_, **__):
    raise AssertionError("the network was exported again")


def test_an_unknown_back_end_is_a_sentence(tiny_model, export_cache):
    with pytest.raises(ModelError, match=r"'tensorflow' is unknown; expected one of torch, openvino, onnxr"):
        open_runner(tiny_model("classification"), "tensorflow", export_cache)


def test_the_environment_names_a_back_end(tiny_model, export_cache, monkeypatch):
    monkeypatch.setenv("DERMCHECK_BACKEND", " OpenVINO ")
    runner = open_runner(tiny_model("classification"), None, export_cache)
    assert runner.description.startswith("OpenVINO")
    monkeypatch.setenv("DERMCHECK_BACKEND", "torch")
    assert open_runner(tiny_model("classification"), None, export_cache).description.startswith("torch")


@EXPORTED
def test_a_network_is_exported_once_for_its_weights(tiny_model, export_cache, monkeypatch, pictures, backend):
    model, other = tiny_model("classification"), tiny_model("classification", seed=1)
    shown = pictures((32, 32))
    expected = open_runner(model, backend, export_cache).start(shown)()
    answers_of_other = open_runner(other, backend, export_cache).start(shown)()
    assert abs(expected[0][0] - answers_of_other[0][0]).max() > 1e-3
    for name in ("export_openvino", "export_onnx", "_examine"):
        monkeypatch.setattr(choosing, name, refuse)
    again = open_runner(tiny_model("classification"), backend, export_cache)
    np.testing.assert_array_equal(again.start(shown)()[0][0], expected[0][0])


def test_a_cached_export_is_run_without_building_the_network(
    tiny_model, tiny_card, tmp_path, export_cache, pictures, monkeypatch
):
    save_model(tmp_path / "model", tiny_model("segmentation").build().network, tiny_card("segmentation"))
    first = open_runner(RunnableModel.of(StoredModel(tmp_path / "model")), "openvino", export_cache)
    monkeypatch.setattr(StoredModel, "network", refuse)
    second = open_runner(RunnableModel.of(StoredModel(tmp_path / "model")), "openvino", export_cache)
    shown = pictures((32, 48))
    np.testing.assert_array_equal(first.start(shown)()[0][0], second.start(shown)()[0][0])


@EXPORTED
def test_a_missing_package_leaves_torch_and_a_sentence(tiny_model, export_cache, monkeypatch, told, backend):
    monkeypatch.setitem(sys.modules, backend, None)
    runner = open_runner(tiny_model("classification"), backend, export_cache)
    assert runner.description.startswith("torch")
    assert "cannot be imported" in told.text
    assert told.records[0].levelname == "WARNING"


def test_without_packages_torch_is_taken_without_a_warning(tiny_model, export_cache, monkeypatch, told):
    monkeypatch.delenv("DERMCHECK_BACKEND")
    for package in ("openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    assert open_runner(tiny_model("classification"), None, export_cache).description.startswith("torch")
    assert not [each for each in told.records if each.levelno >= logging.WARNING]


@EXPORTED
def test_an_export_of_other_weights_is_refused(
    tiny_model, export_cache, monkeypatch, told, pictures, backend
):
    model, other = tiny_model("classification"), tiny_model("classification", seed=1)
    name = "export_openvino" if backend == "openvino" else "export_onnx"
    real = getattr(choosing, name)
    monkeypatch.setattr(choosing, name, lambda network, side: real(other.build(), side))
    runner = open_runner(model, backend, export_cache)
    assert "its answers differ from torch's: probabilities within" in told.text
    shown = pictures((32, 32))
    expected = TorchRunner(model.build).start(shown)()
    np.testing.assert_allclose(runner.start(shown)()[0][0], expected[0][0], atol=1e-6)


@EXPORTED
def test_an_export_that_fails_leaves_torch_and_its_traceback(
    tiny_model, export_cache, monkeypatch, told, backend
):
    name = "export_openvino" if backend == "openvino" else "export_onnx"
    monkeypatch.setattr(choosing, name, lambda *_: (_ for _ in ()).throw(RuntimeError("no such operator")))
    runner = open_runner(tiny_model("classification"), backend, export_cache)
    assert runner.description.startswith("torch")
    assert "RuntimeError: no such operator" in told.text


def test_a_damaged_export_is_made_anew(tiny_model, export_cache, tmp_path, told):
    model = tiny_model("classification")
    open_runner(model, "openvino", export_cache)
    for weights in (tmp_path / "networks").glob("*/network.bin"):
        weights.write_bytes(b"\0" * weights.stat().st_size)
    assert open_runner(model, "openvino", export_cache).description.startswith("OpenVINO")
    assert "is damaged" in told.text


@pytest.mark.parametrize("when", ["start", "answer"])
def test_a_failure_while_computing_is_answered_by_torch_from_then_on(
    tiny_model, export_cache, monkeypatch, told, pictures, when
):
    model = tiny_model("segmentation")
    runner = open_runner(model, "openvino", export_cache)

    def fail(*_):
        raise BackendError("OpenVINO could not compute a picture (out of memory)")

    monkeypatch.setattr(OpenVINORunner, "start", fail if when == "start" else lambda *_: fail)
    shown = pictures((32, 32), (32, 48))
    for _ in range(2):
        found, expected = runner.start(shown)(), TorchRunner(model.build).start(shown)()
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one[0], other[0], atol=1e-6)
    assert runner.description.startswith("torch")
    assert told.text.count("out of memory). From now on Tiny outliner runs with torch") == 1


class Fake:
    """Answers as torch does, times a factor, in a given time."""

    def __init__(self, model, seconds, factor):
        self._torch, self._seconds, self._factor = TorchRunner(model.build), seconds, factor

    def start(self, shown):
        def answers():
            time.sleep(self._seconds * len(shown))
            return [(logits * self._factor, *rest) for logits, *rest in self._torch.start(shown)()]

        return answers


@pytest.mark.parametrize(
    ("seconds", "factor", "chosen"),
    [(0.0, 1.0, "bf16"), (0.004, 1.0, "f32"), (0.0, 1.5, "f32")],
    ids=["quicker and equal", "slower", "quicker, but other answers"],
)
def test_fewer_bits_are_taken_where_they_are_quicker_and_hold(tiny_model, seconds, factor, chosen):
    model = tiny_model("classification")
    made = {"f32": Fake(model, 0.002, 1.0), "bf16": Fake(model, seconds, factor)}
    findings = _examine(model, lambda precision, _: made[precision], ("f32", "bf16"), [Lanes(1, 1)])
    assert findings.precision == chosen
    assert list(findings.refused) == (["bf16"] if factor != 1 else [])


def test_the_quickest_way_of_using_the_cores_is_taken(tiny_model):
    model = tiny_model("classification")
    ways = {Lanes(2, 2): Fake(model, 0.004, 1.0), Lanes(1, 2): Fake(model, 0.001, 1.0)}
    findings = _examine(model, lambda _, lanes: ways[lanes], ("f32",), list(ways))
    assert findings.lanes == Lanes(1, 2)


def test_a_back_end_slower_than_torch_is_not_taken_by_itself(tiny_model, export_cache, monkeypatch, told):
    monkeypatch.delenv("DERMCHECK_BACKEND")
    model = tiny_model("classification")
    real = choosing._examine
    monkeypatch.setattr(
        choosing,
        "_examine",
        lambda *a: dataclasses.replace(real(*a), milliseconds=9.0, torch_milliseconds=1.0),
    )
    assert open_runner(model, None, export_cache).description.startswith("torch")
    assert "it takes 9.00 ms a picture and torch 1.00" in told.text
    assert open_runner(model, "openvino", export_cache).description.startswith("OpenVINO")


class FailingDevice(TorchRunner):
    """Stands for a GPU: as torch on the processor, but out of memory."""

    def _computed(self, batch):
        if self._device.type == "cpu":
            return super()._computed(batch)
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")


def test_a_gpu_that_fails_is_a_failure_of_the_back_end(tiny_model, pictures):
    gpu = FailingDevice(tiny_model("classification").build, "meta")
    with pytest.raises(BackendError, match=r"could not compute on meta \(CUDA out of memory\.\)$"):
        gpu.start(pictures((32, 32)))()


def test_a_gpu_that_fails_from_the_start_leaves_the_processor_and_a_sentence(
    tiny_model, export_cache, pictures, monkeypatch, told
):
    monkeypatch.delenv("DERMCHECK_BACKEND")
    monkeypatch.setattr(choosing, "torch_device", lambda: "meta")
    monkeypatch.setattr(choosing, "TorchRunner", FailingDevice)
    model, shown = tiny_model("classification"), pictures((32, 32))
    runner = open_runner(model, None, export_cache)
    assert " on cpu" in runner.description
    assert "could not compute on meta (CUDA out of memory.). Tiny classifier runs with torch" in told.text
    expected = TorchRunner(model.build).start(shown)()
    np.testing.assert_array_equal(runner.start(shown)()[0][0], expected[0][0])


@EXPORTED
def test_another_calibration_of_the_same_weights_is_examined_anew(
    tiny_model, export_cache, monkeypatch, backend
):
    """Which precision holds depends on the decisions, and these on the calibration."""
    model = tiny_model("classification")
    open_runner(model, backend, export_cache)
    examined, real = [], choosing._examine
    monkeypatch.setattr(
        choosing, "_examine", lambda model, *a: examined.append(model.card) or real(model, *a)
    )
    sharper = dataclasses.replace(Calibration.identity(), temperature=0.1)
    other = dataclasses.replace(model, card=dataclasses.replace(model.card, calibration=sharper))
    for opened in (model, other):
        open_runner(opened, backend, export_cache)
    assert examined == [other.card]


def test_mixed_precision_computes_in_fewer_bits(tiny_model, pictures):
    model, shown = tiny_model("classification"), pictures((32, 32), (32, 32))
    exact = TorchRunner(model.build).start(shown)()
    mixed = TorchRunner(model.build, "cpu", torch.bfloat16).start(shown)()
    for one, other in zip(exact, mixed, strict=True):
        assert other[0].dtype == np.float32
        assert 0 < np.abs(one[0] - other[0]).max() < 0.02
