from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dermcheck.lesions import CLASSES
from dermcheck.training.numerics import Numerics
from reference_training.fitting import Clock, Plan, fit
from reference_training.lessons import ClassificationLesson, OutlineLesson
from reference_training.pictures import compress, unpack
from reference_training.views import training_views, whole_views

CPU = Numerics(torch.device("cpu"))
PLAN = Plan(minutes=1, sides=((1, 32, 16),), rate=5e-3, averaging=0.9, examinations=1)


class CountedClock(Clock):
    """A clock that goes on by a third of a second whenever it is looked at, whatever the machine does."""

    def __init__(self, minutes: float, spent: float = 0.0) -> None:
        self._spent, self._all = spent, minutes * 60

    @property
    def spent(self) -> float:
        self._spent += 1 / 3
        return self._spent


@pytest.fixture(autouse=True)
def counted_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_training.fitting.Clock", CountedClock)


def tiny(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, outputs, 5, padding=2)
    )


class TinyClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = tiny(len(CLASSES))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.body(pixels).mean((2, 3))


def test_a_packed_set_holds_every_photograph_but_those_that_report(packed: Path) -> None:
    pictures = unpack(packed)
    assert sorted(set(pictures.fold.tolist())) == list(range(9))
    assert np.bincount(pictures.source).tolist() == [9 * 7, 2 * 3]
    assert pictures.diagnosis[pictures.source == 0].tolist() == 9 * list(range(7))
    assert (pictures.diagnosis[pictures.source == 1] < 0).sum() == 2, "two of Task 1 have no diagnosis"
    assert pictures.has_mask.all()
    inside = pictures.masks[0].astype(bool)
    assert abs(pictures.images[0][:, inside].mean(1) - (40, 120, 30)).max() < 10, "colours and mask fit"


def test_some_photographs_are_seen_as_a_harder_jpeg_shows_them(packed: Path) -> None:
    """The shown ones lie on the stored ones pixel by pixel, so that the masks still fit."""
    pictures = unpack(packed)
    shown = compress(pictures.images)
    assert np.array_equal(shown, compress(pictures.images)), "the same in all parts of a run"
    changes = np.abs(shown.astype(int) - pictures.images).mean((1, 2, 3))
    assert (changes > 0).all()
    assert changes.max() < 12
    lesson = ClassificationLesson(pictures, CPU.device, 32)
    drawn = lesson._shelf.draw(torch.zeros(2000, dtype=torch.int64)).numpy()
    harder, stored = (np.all(drawn == one[0], (1, 2, 3)) for one in (shown, pictures.images))
    assert np.array_equal(harder, ~stored)
    assert 0.35 < harder.mean() < 0.45


def test_a_file_that_is_cut_off_is_refused_in_words(packed: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pack"
    cut.write_bytes(packed.read_bytes()[:-10])
    with pytest.raises(ValueError, match="cut off"):
        unpack(cut)


def test_a_mask_goes_the_way_of_its_picture() -> None:
    torch.manual_seed(0)
    images = torch.full((32, 3, 64, 64), 230, dtype=torch.uint8)
    masks = torch.zeros(32, 64, 64, dtype=torch.uint8)
    masks[:, 20:44, 12:40] = 1
    images[:, :, 20:44, 12:40] = 40
    views = training_views(images, 64, torch.zeros(1, 1, 64, 64, dtype=torch.uint8), masks)
    assert views.pixels.shape == (32, 3, 64, 64)
    assert views.pixels.min() >= -1
    assert views.pixels.max() <= 1
    assert views.masks is not None
    for pixels, mask in zip(views.pixels.mean(1), views.masks[:, 0], strict=True):
        if (mask > 0.9).any() and (mask < 0.1).any():
            assert pixels[mask > 0.9].mean() < pixels[mask < 0.1].mean() - 0.2


def test_whole_views_are_what_prediction_sees() -> None:
    from dermcheck.inference.preprocessing import prepare
    from dermcheck.networks.cards import InputSpec

    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    spec = InputSpec(side=96, mean=(0.5,) * 3, std=(0.5,) * 3, geometry="centre_square")
    seen = whole_views(torch.from_numpy(picture.transpose(2, 0, 1).copy())[None], 96)
    assert torch.allclose(seen, prepare(picture, spec).pixels, atol=1e-5)


def test_a_classifier_learns_and_its_teacher_is_listened_to(packed: Path, tmp_path: Path) -> None:
    pictures = unpack(packed)
    torch.manual_seed(0)
    network = TinyClassifier()
    lesson = ClassificationLesson(pictures, CPU.device, 32)
    before = lesson.examine(network.eval(), CPU)["macro_auc"]
    network.load_state_dict(fit(network, PLAN, lesson, CPU, tmp_path / "teacher"))
    after = lesson.examine(network.eval(), CPU)["macro_auc"]
    assert after > max(before, 0.6)

    student = TinyClassifier()
    taught = ClassificationLesson(pictures, CPU.device, 32, teacher=network)
    own_answer = float(taught.loss(network, 32, 64, CPU))
    assert own_answer < float(taught.loss(student, 32, 64, CPU)), "the teacher agrees most with itself"


def test_an_outliner_learns(packed: Path, tmp_path: Path) -> None:
    lesson = OutlineLesson(unpack(packed), CPU.device, 64)
    network = tiny(1)
    before = lesson.examine(network.eval(), CPU)["jaccard_ham10000"]
    network.load_state_dict(fit(network, PLAN, lesson, CPU, tmp_path))
    assert lesson.examine(network.eval(), CPU)["jaccard_ham10000"] > before + 0.1


def test_minutes_count_over_all_parts_of_a_run(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    class Lesson(OutlineLesson):
        calls = 0

        def loss(self, *arguments: object) -> Tensor:
            self.calls += 1
            if self.calls > 6:
                raise KilledError
            return super().loss(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("reference_training.fitting._SAVE_EVERY", 0.0)
    pictures = unpack(packed)
    with pytest.raises(KilledError):
        fit(tiny(1), PLAN, Lesson(pictures, CPU.device, 64), CPU, tmp_path)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 6
    assert 0 < kept["seconds"] < 60
    kept["seconds"] = 57.0  # of 60
    torch.save(kept, tmp_path / "checkpoint.pt")
    fit(tiny(1), PLAN, OutlineLesson(pictures, CPU.device, 64), CPU, tmp_path)
    seconds, steps = map(float, (tmp_path / "log.csv").read_text().splitlines()[-1].split(",")[:2])
    assert 60 <= seconds < 65, "the minutes of the first part count"
    assert 6 < steps < 15, "and so do its steps"


def test_the_stages_follow_each_other_from_files_alone(packed: Path, tmp_path: Path) -> None:
    """Teacher, then classifier taught by it: what the command does, with all files in one folder."""
    from safetensors.torch import load_file, save_file

    import train_reference_models as campaign

    (tmp_path / campaign.PICTURES).symlink_to(packed)
    published = campaign.build_network("efficientnet_lite0", "classification")
    parts = [("_stem", published.encoder), ("_conv_head", published.top)]
    state = [(f"{part}.{k}", value) for part, layer in parts for k, value in layer.state_dict().items()]
    numbered = {f"{number:04d} {name}": value for number, (name, value) in enumerate(state)}
    save_file(numbered, tmp_path / campaign.IMAGENET)
    plan = Plan(minutes=0.05, sides=((0.5, 32, 7), (1, 64, 7)), rate=1e-3, averaging=0.5, examinations=1)
    for stage, architecture in (("teacher", "efficientnet_lite0"), ("classifier", "densenet121")):
        campaign.train(stage, tmp_path, plan)
        weights = load_file(tmp_path / stage / campaign.WEIGHTS)
        assert {value.dtype for value in weights.values()} <= {torch.float16, torch.int64}
        network = campaign.build_network(architecture, "classification")
        network.load_state_dict({name: value.float() for name, value in weights.items()})
        assert torch.isfinite(network.eval()(torch.rand(1, 3, 64, 64))).all()
        assert (tmp_path / stage / "log.csv").read_text().count("\n") >= 2


def test_a_run_goes_on_from_finished_weights_and_learns_from_a_group(packed: Path, tmp_path: Path) -> None:
    """At a rate of nearly nothing the weights stay those it began with; the group's mean is what it hears."""
    from safetensors.torch import load_file, save_file

    import train_reference_models as campaign

    (tmp_path / campaign.PICTURES).symlink_to(packed)
    group = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = campaign.build_network("efficientnet_lite0", "classification").eval()
        save_file(network.state_dict(), tmp_path / f"{seed}.safetensors")
        group.append(network)
    paths = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        mean = campaign.read_teachers(paths, torch.device("cpu"))(pixels)
        torch.testing.assert_close(mean, (group[0](pixels) + group[1](pixels)) / 2)
    plan = Plan(minutes=0.03, sides=((1, 32, 7),), rate=1e-9, averaging=0.5, examinations=1)
    campaign.train("teacher", tmp_path, plan, run="taught", start=paths[0], teachers=paths)
    taught, first = load_file(tmp_path / "taught" / campaign.WEIGHTS), load_file(paths[0])
    torch.testing.assert_close(taught["out.weight"].float(), first["out.weight"], atol=1e-3, rtol=0)
    assert campaign.parse_sides("0.5:160:48,1:192:32") == ((0.5, 160, 48), (1.0, 192, 32))


def test_runs_that_went_on_from_the_same_weights_are_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    import train_reference_models as campaign

    one, other = tiny(1).state_dict(), tiny(1).state_dict()
    for name, state in (("one", one), ("other", other)):
        save_file(state, tmp_path / name)
    save_file({"out.weight": torch.zeros(1)}, tmp_path / "of another network")
    command = ["campaign", "average", "--work", str(tmp_path), "--run", "averaged", "--weights"]
    monkeypatch.setattr("sys.argv", [*command, str(tmp_path / "one"), str(tmp_path / "other")])
    campaign.main()
    averaged = load_file(tmp_path / "averaged" / campaign.WEIGHTS)
    assert averaged.keys() == one.keys()
    torch.testing.assert_close(averaged["0.weight"], ((one["0.weight"] + other["0.weight"]) / 2).half())
    assert averaged["1.num_batches_tracked"].dtype == torch.int64
    with pytest.raises(SystemExit, match="not of the same network"):
        campaign.average([tmp_path / "one", tmp_path / "of another network"])
