import hashlib
import json
import os
import pickle
from datetime import datetime

import pytest
import safetensors.torch
import torch
from torch import nn

from dermcheck.errors import ModelError, StorageError
from dermcheck.networks import build_network, load_model, read_card, save_model
from dermcheck.networks.cards import PhotographCheck
from dermcheck.networks.checkpoint import CARD_NAME, WEIGHTS_NAME
from dermcheck.networks.photograph_probe import PhotographProbe, attach_probe, probe_of


@pytest.fixture
def saved(tmp_path, tiny_architecture, classifier_card):
    """A small model on the disk."""
    torch.manual_seed(0)
    folder = tmp_path / "model"
    save_model(folder, tiny_architecture(), classifier_card())
    return folder


def change_card(folder, **changes):
    path = folder / CARD_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_weights(folder, tensors):
    content = safetensors.torch.save(tensors)
    (folder / WEIGHTS_NAME).write_bytes(content)
    change_card(folder, sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(("architecture", "dendrites"), [("densenet121", 0), ("densenet121", 3), ("unet", 0)])
def test_a_saved_network_answers_the_same_after_loading(
    tmp_path, architecture, dendrites, classifier_card, outliner_card
):
    torch.manual_seed(0)
    make_card = outliner_card if architecture == "unet" else classifier_card
    card = make_card(architecture=architecture, dendrites=dendrites)
    network = build_network(architecture, card.task, dendrites)
    network(torch.randn(2, 3, 64, 64))  # batch normalisation gathers statistics
    network.eval()
    save_model(tmp_path / "model", network, card)
    loaded, _ = load_model(tmp_path / "model")
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels), network(pixels), rtol=0.01, atol=0.01)


def test_saving_returns_the_card_that_loading_gives(tmp_path, tiny_architecture, classifier_card):
    saved = save_model(tmp_path / "model", tiny_architecture(), classifier_card())
    assert load_model(tmp_path / "model")[1] == saved
    assert read_card(tmp_path / "model") == saved


def test_the_card_holds_the_hash_of_the_weights_file_and_the_time(saved):
    card = read_card(saved)
    assert card.sha256 == hashlib.sha256((saved / WEIGHTS_NAME).read_bytes()).hexdigest()
    assert datetime.fromisoformat(card.created).tzinfo is not None


def test_a_date_of_making_is_kept(tmp_path, tiny_architecture, classifier_card):
    card = classifier_card(created="2026-01-02T03:04:05+00:00")
    assert save_model(tmp_path / "model", tiny_architecture(), card).created == card.created


def test_equal_networks_give_equal_hashes(tmp_path, tiny_architecture, classifier_card):
    network = tiny_architecture()
    channels_last = tiny_architecture().to(memory_format=torch.channels_last)
    channels_last.load_state_dict(network.state_dict())
    hashes = {
        save_model(tmp_path / name, network, classifier_card()).sha256
        for name, network in (("a", network), ("b", channels_last))
    }
    assert len(hashes) == 1


def test_weights_are_stored_in_half_precision_and_batch_counts_as_integers(saved):
    tensors = safetensors.torch.load((saved / WEIGHTS_NAME).read_bytes())
    assert tensors["out.weight"].dtype == torch.float16
    assert tensors["norm.num_batches_tracked"].dtype == torch.int64


def test_a_batch_count_beyond_half_precision_survives(tmp_path, tiny_architecture, classifier_card):
    network = tiny_architecture()
    network.norm.num_batches_tracked.fill_(1_234_567)
    save_model(tmp_path / "model", network, classifier_card())
    assert load_model(tmp_path / "model")[0].norm.num_batches_tracked.item() == 1_234_567


def test_a_loaded_network_is_in_evaluation_mode_in_single_precision_and_channels_last(
    tmp_path, outliner_card
):
    save_model(tmp_path / "model", build_network("unet", "segmentation"), outliner_card())
    network, _ = load_model(tmp_path / "model")
    assert not any(module.training for module in network.modules())
    parameters = list(network.parameters())
    assert {p.dtype for p in parameters} == {torch.float32}
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in parameters if p.ndim == 4)


def test_saving_leaves_the_network_unchanged(tmp_path, tiny_architecture, classifier_card):
    network = tiny_architecture().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save_model(tmp_path / "model", network, classifier_card())
    assert network.training
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == before[name].dtype
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


@pytest.mark.parametrize("value", [70_000.0, float("nan"), float("inf")])
def test_a_weight_that_half_precision_cannot_hold_is_refused(
    tmp_path, tiny_architecture, classifier_card, value
):
    network = tiny_architecture()
    nn.init.constant_(network.out.bias, value)
    with pytest.raises(ModelError, match=r"out\.bias reaches .*half precision ends at 65504"):
        save_model(tmp_path / "model", network, classifier_card())
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_is_not_its_cards_is_refused_at_saving(tmp_path, tiny_architecture, classifier_card):
    with pytest.raises(ModelError, match="This network is not the densenet121 of its card: 7"):
        save_model(tmp_path / "model", tiny_architecture(), classifier_card(architecture="densenet121"))


def test_a_model_is_never_overwritten(saved, tiny_architecture, classifier_card):
    before = (saved / WEIGHTS_NAME).read_bytes()
    with pytest.raises(ModelError, match="exists already; a model is never overwritten"):
        save_model(saved, tiny_architecture(), classifier_card())
    assert (saved / WEIGHTS_NAME).read_bytes() == before


def test_an_empty_folder_may_be_filled(tmp_path, tiny_architecture, classifier_card):
    (tmp_path / "deep" / "model").mkdir(parents=True)
    save_model(tmp_path / "deep" / "model", tiny_architecture(), classifier_card())
    load_model(tmp_path / "deep" / "model")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]


def test_a_full_disk_leaves_nothing_behind(tmp_path, tiny_architecture, classifier_card, fill_disk):
    fill_disk("model")
    with pytest.raises(StorageError, match=r"cannot be saved \(No space"):
        save_model(tmp_path / "model", tiny_architecture(), classifier_card())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path, tiny_architecture, classifier_card):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"the model cannot be saved \(File exists"):
        save_model(tmp_path / "file" / "model", tiny_architecture(), classifier_card())


@pytest.mark.parametrize(("name", "what"), [(CARD_NAME, "card"), (WEIGHTS_NAME, "weights")])
def test_a_missing_file_is_named(saved, name, what):
    (saved / name).unlink()
    with pytest.raises(ModelError, match=f"{name}: the model's {what} is missing"):
        load_model(saved)


def test_a_folder_in_the_place_of_a_file_is_a_sentence(saved):
    (saved / WEIGHTS_NAME).unlink()
    (saved / WEIGHTS_NAME).mkdir()
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(saved)


def test_a_single_changed_bit_is_refused(saved):
    path = saved / WEIGHTS_NAME
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"the SHA-256 of the weights is .* but the card says"):
        load_model(saved)


def test_a_card_without_a_hash_is_refused(saved):
    change_card(saved, sha256="")
    with pytest.raises(ModelError, match="the card says nothing"):
        load_model(saved)


def test_another_architecture_in_the_card_is_refused(saved):
    change_card(saved, architecture="densenet121")
    with pytest.raises(
        ModelError, match=r"does not hold a densenet121: \d+ tensors are missing and 7 unexpected"
    ):
        load_model(saved)


def test_an_unknown_architecture_is_refused_with_the_cards_path(saved):
    change_card(saved, architecture="resnet")
    with pytest.raises(ModelError, match=r"card\.json: The architecture 'resnet' is unknown"):
        load_model(saved)


def test_another_order_of_classes_is_refused_with_the_cards_path(saved):
    change_card(saved, classes=["nv", "mel", "bkl", "bcc", "akiec", "vasc", "df"])
    with pytest.raises(ModelError, match=r"card\.json: Model card: classes is .* in this order"):
        load_model(saved)


def test_another_number_of_dendrites_is_refused(saved):
    change_card(saved, dendrites=1)
    with pytest.raises(ModelError, match="6 tensors are missing and 2 unexpected"):
        load_model(saved)


def test_a_missing_tensor_is_refused_instead_of_left_random(saved):
    tensors = safetensors.torch.load((saved / WEIGHTS_NAME).read_bytes())
    del tensors["out.bias"]
    replace_weights(saved, tensors)
    with pytest.raises(ModelError, match=r"1 tensors are missing and 0 unexpected, e\.g\. out\.bias"):
        load_model(saved)


def test_a_tensor_of_another_shape_is_refused(saved):
    tensors = safetensors.torch.load((saved / WEIGHTS_NAME).read_bytes())
    tensors["out.bias"] = torch.zeros(1, dtype=torch.float16)
    replace_weights(saved, tensors)
    with pytest.raises(ModelError, match=r"out\.bias has the shape \(1,\), expected \(7,\)"):
        load_model(saved)


def test_integers_in_the_place_of_weights_are_refused(saved):
    tensors = safetensors.torch.load((saved / WEIGHTS_NAME).read_bytes())
    tensors["out.bias"] = torch.zeros(7, dtype=torch.int64)
    replace_weights(saved, tensors)
    with pytest.raises(ModelError, match=r"out\.bias has the type torch\.int64, expected torch\.float32"):
        load_model(saved)


class Trap:
    """Its pickle runs code when it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_pickle_with_a_fitting_hash_is_refused_without_being_run(saved, tmp_path):
    content = pickle.dumps(Trap(tmp_path / "code-was-run"))
    (saved / WEIGHTS_NAME).write_bytes(content)
    change_card(saved, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(ModelError, match="this is not a safetensors file"):
        load_model(saved)
    assert not (tmp_path / "code-was-run").exists()


def test_a_card_that_is_not_text_is_refused(saved):
    (saved / CARD_NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="not UTF-8 text"):
        load_model(saved)


def probed(make_network, classifier_card, **changes):
    network = make_network()
    attach_probe(network, PhotographProbe(torch.tensor([1e6, -2.0, 0.25]), torch.tensor(-1.0)))
    check = PhotographCheck(lesion_from=0.4, wrongly_flagged=0.01)
    return network, classifier_card(**({"photograph_check": check} | changes))


def test_the_photograph_probe_travels_with_the_weights_in_single_precision(
    tmp_path, tiny_architecture, classifier_card
):
    network, card = probed(tiny_architecture, classifier_card)
    saved = save_model(tmp_path / "model", network, card)
    loaded, _ = load_model(tmp_path / "model")
    assert probe_of(loaded).weight.tolist() == [1e6, -2.0, 0.25]  # half precision ends at 65504
    assert probe_of(loaded).bias.item() == -1.0
    content = (tmp_path / "model" / WEIGHTS_NAME).read_bytes()
    assert saved.sha256 == hashlib.sha256(content).hexdigest()


def test_a_probe_without_a_threshold_is_not_saved(tmp_path, tiny_architecture, classifier_card):
    network, card = probed(tiny_architecture, classifier_card, photograph_check=None)
    save_model(tmp_path / "model", network, card)
    assert probe_of(load_model(tmp_path / "model")[0]) is None


def test_a_threshold_without_a_probe_is_refused(tmp_path, tiny_architecture, classifier_card):
    _, card = probed(tiny_architecture, classifier_card)
    with pytest.raises(ModelError, match="the network has no probe"):
        save_model(tmp_path / "model", tiny_architecture(), card)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda tensors: tensors.pop("photograph_probe.bias"), "its weights are missing"),
        (
            lambda tensors: tensors.update({"photograph_probe.weight": torch.zeros(3, 1)}),
            "expected one row of weights and a number",
        ),
    ],
)
def test_a_damaged_probe_is_refused(tmp_path, tiny_architecture, classifier_card, spoil, words):
    folder = tmp_path / "model"
    save_model(folder, *probed(tiny_architecture, classifier_card))
    tensors = safetensors.torch.load((folder / WEIGHTS_NAME).read_bytes())
    spoil(tensors)
    replace_weights(folder, tensors)
    with pytest.raises(ModelError, match=words):
        load_model(folder)
