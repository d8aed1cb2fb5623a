"""Detection: scenes hold what their boxes say, maps say where boxes are and back, and the score is the library's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from harness.schema.metrics import metric
from harness.workloads import registry
from harness.workloads import scenes as scenes_module
from harness.workloads.boxes import Boxes, FoundBoxes, map50
from harness.workloads.digits import Digits
from harness.workloads.mnist import mnist
from harness.workloads.models.centres import STRIDE, CentreNet, bumps, detection_loss, detections
from harness.workloads.scenes import INK, SIDE, Scenes, random_boxes, scene, scenes, shrunk

CLASSES = 10


@pytest.fixture(scope="module", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMOMETER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data() -> Scenes:
    return scenes()


# Scenes


def loose(picture: np.ndarray, box: np.ndarray) -> bool:
    """Whether a side of the box could be moved inwards without losing ink."""
    x, y, right, below = box
    inked = picture[y:below, x:right] >= INK
    return not (inked[0].any() and inked[-1].any() and inked[:, 0].any() and inked[:, -1].any())


def test_boxes_are_tight_and_hold_all_ink(data: Scenes) -> None:
    for picture, boxes, labels in zip(data.held_out_pictures, data.held_out_boxes, data.held_out_labels, strict=True):
        outside = picture.copy()
        assert 1 <= (labels >= 0).sum() <= 3
        for box, label in zip(boxes, labels, strict=True):
            if label < 0:
                assert not box.any()
                continue
            assert (box >= 0).all()
            assert (box <= SIDE).all()
            assert not loose(picture, box)
            outside[box[1] : box[3], box[0] : box[2]] = 0
        assert not outside.any()


def test_a_loose_box_would_be_noticed(data: Scenes) -> None:
    box = data.held_out_boxes[0, 0] + np.array([-1, 0, 0, 0])
    assert loose(np.pad(data.held_out_pictures[0], 1), box + 1)


def met(boxes: np.ndarray, labels: np.ndarray) -> bool:
    """Whether two boxes of a scene share a pixel."""
    shown = boxes[labels >= 0]
    count = np.zeros((SIDE, SIDE), int)
    for x, y, right, below in shown:
        count[y:below, x:right] += 1
    return bool((count > 1).any())


def test_digits_do_not_meet(data: Scenes) -> None:
    assert not any(met(*pair) for pair in zip(data.train_boxes[:500], data.train_labels[:500], strict=True))
    assert met(np.array([[0, 0, 9, 9], [8, 8, 12, 12]]), np.array([1, 2])), "two that meet would not be noticed"


def test_scenes_are_made_of_their_own_part_of_mnist() -> None:
    """Each digit is drawn with its number as its only grey value: what is in a scene shows which digits were taken."""
    numbered = np.stack([np.full((28, 28), INK + number, np.uint8) for number in range(100)])
    labels = np.arange(100) % 10
    draws = np.arange(1, 56) * 7919 + 2
    pixels, boxes, classes = scene(numbered, labels, draws)
    for box, label in zip(boxes[classes >= 0], classes[classes >= 0], strict=True):
        value = pixels[box[1] : box[3], box[0] : box[2]]
        assert (value == value[0, 0]).all()
        assert labels[value[0, 0] - INK] == label


def test_held_out_digits_are_in_no_scene_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits of the two parts are told apart by their grey value."""
    grey = {"train": 100, "held_out": 200}
    marked = {f"{part}_pictures": np.full((20, 28, 28), value, np.uint8) for part, value in grey.items()}
    labels = {f"{part}_labels": np.arange(20) % 10 for part in grey}
    monkeypatch.setattr(scenes_module, "mnist", lambda: Digits(**marked, **labels, trivial={}, data_hash=""))
    monkeypatch.setattr(scenes_module, "SCENES", {"train": 20, "held_out": 20})
    made = scenes_module.prepare()
    for part, value in grey.items():
        assert np.unique(made[f"{part}_pictures"]).tolist() == [0, value]


def test_a_digit_at_full_size_is_the_digit() -> None:
    picture = mnist().train_pictures[0]
    whole = shrunk(picture, 28)
    inked = picture >= INK
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    assert np.array_equal(whole, picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    small = shrunk(picture, 14)
    assert small.shape == pytest.approx([side / 2 for side in whole.shape], abs=2)


# The score


def truth() -> list[Boxes]:
    return [
        Boxes(np.array([[0, 0, 10, 10], [20, 20, 40, 30]]), np.array([3, 5])),
        Boxes(np.array([[5, 5, 9, 9]]), np.array([3])),
    ]


def found(shift: float = 0.0, classes: int = 0, scores: tuple[float, ...] = (0.9, 0.8, 0.7)) -> list[FoundBoxes]:
    first, second = truth()
    return [
        FoundBoxes(first.corners + np.array([shift, 0, shift, 0]), first.classes + classes, np.array(scores[:2])),
        FoundBoxes(second.corners, second.classes + classes, np.array(scores[2:])),
    ]


def test_the_score_is_one_where_all_is_right_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert map50(found(), truth()) == pytest.approx(1)
    assert capsys.readouterr().out == ""


def test_half_an_overlap_counts() -> None:
    """Boxes of 10 and 20 pixels: moved by 3 they overlap by 7 ÷ 13 and 17 ÷ 23, moved by 4 by 6 ÷ 14 and 16 ÷ 24."""
    assert map50(found(shift=3), truth()) == pytest.approx(1)
    assert map50(found(shift=4), truth()) < 0.9


def test_what_is_wrong_costs() -> None:
    assert map50(found(classes=1), truth()) == 0
    missed = [found()[0], FoundBoxes(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))]
    assert map50(missed, truth()) == pytest.approx((51 / 101 + 1) / 2)
    assert map50([missed[1]] * 2, truth()) == 0.0


def test_a_false_box_costs_only_where_it_is_surer() -> None:
    wrong = FoundBoxes(np.array([[50, 50, 60, 60]]), np.array([3]), np.array([0.1]))

    def with_wrong(score: float) -> float:
        first, second = found()
        return map50(
            [
                FoundBoxes(
                    *(
                        np.concatenate(pair)
                        for pair in (
                            (first.corners, wrong.corners),
                            (first.classes, wrong.classes),
                            (first.scores, np.array([score])),
                        )
                    )
                ),
                second,
            ],
            truth(),
        )

    assert with_wrong(0.1) == pytest.approx(1)
    assert with_wrong(0.99) < 1


def test_random_boxes_find_nothing(data: Scenes) -> None:
    assert data.trivial["random_boxes"] < 0.05
    guesses = random_boxes(np.arange(60) * 104729)
    assert (guesses.corners[:, 2:] > guesses.corners[:, :2]).all()
    assert ((guesses.scores >= 0) & (guesses.scores < 1)).all()


# Maps


def perfect_maps(boxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Maps that say what the boxes are, written by hand and not by the code under test."""
    maps = torch.full((len(boxes), CLASSES + 4, SIDE // STRIDE, SIDE // STRIDE), -9.0)
    for number, (of_picture, classes) in enumerate(zip(boxes.tolist(), labels.tolist(), strict=True)):
        for (x, y, right, below), label in zip(of_picture, classes, strict=True):
            if label >= 0:
                across, down = (x + right) / 2 / STRIDE, (y + below) / 2 / STRIDE
                maps[number, label, int(down), int(across)] = 9.0
                maps[number, CLASSES:, int(down), int(across)] = torch.tensor(
                    [np.log((right - x) / STRIDE), np.log((below - y) / STRIDE), across % 1, down % 1]
                )
    return maps


def test_perfect_maps_give_the_boxes_back(data: Scenes) -> None:
    boxes, labels = (torch.from_numpy(values[:40]) for values in (data.held_out_boxes, data.held_out_labels))
    corners, classes, scores = detections(perfect_maps(boxes, labels), 10)
    for number in range(40):
        sure = scores[number] > 0.5
        expected = sorted(
            (label, box)
            for label, box in zip(labels[number].tolist(), boxes[number].tolist(), strict=True)
            if label >= 0
        )
        given = sorted(
            zip(classes[number][sure].tolist(), corners[number][sure].round(decimals=3).tolist(), strict=True)
        )
        assert [label for label, _ in given] == [label for label, _ in expected]
        assert np.allclose([box for _, box in given], [box for _, box in expected], atol=1e-2)


def test_the_loss_wants_perfect_maps(data: Scenes) -> None:
    boxes, labels = (torch.from_numpy(values[:8]) for values in (data.held_out_boxes, data.held_out_labels))
    maps = perfect_maps(boxes, labels)
    best = detection_loss(maps, boxes, labels, 2.0)
    assert best < 0.01
    for channel in (CLASSES, CLASSES + 2):
        worse = maps.clone()
        worse[:, channel] += 0.5
        mean_boxes = (labels >= 0).sum() / 8
        assert (detection_loss(worse, boxes, labels, 2.0) - best).item() == pytest.approx(0.5 * mean_boxes.item() / 2)
    assert detection_loss(maps.roll(1, dims=1), boxes, labels, 2.0) > 1


def test_the_loss_divides_by_a_constant_and_not_by_the_boxes_of_the_batch(data: Scenes) -> None:
    """Else a picture's share would depend on its micro-batch, and two ranks would train another model than one."""
    torch.manual_seed(0)
    boxes, labels = (torch.from_numpy(values[:6]) for values in (data.held_out_boxes, data.held_out_labels))
    assert len((labels >= 0).sum(dim=1).unique()) > 1
    maps = torch.randn(6, CLASSES + 4, 16, 16)
    each = [detection_loss(maps[[i]], boxes[[i]], labels[[i]], 2.0) for i in range(6)]
    assert detection_loss(maps, boxes, labels, 2.0).item() == pytest.approx(sum(each).item() / 6, rel=1e-5)  # type: ignore[union-attr]


def test_bumps_are_one_at_centres_alone(data: Scenes) -> None:
    boxes, labels = (torch.from_numpy(values[:50]) for values in (data.held_out_boxes, data.held_out_labels))
    shapes = bumps(boxes, labels, CLASSES, SIDE // STRIDE)
    assert shapes.shape == (50, CLASSES, 16, 16)
    assert (shapes == 1).sum() == (labels >= 0).sum()
    assert ((shapes == 1) == (perfect_maps(boxes, labels)[:, :CLASSES] > 0)).all()
    nothing = torch.full_like(labels, -1)
    assert not bumps(boxes, nothing, CLASSES, 16).any()


def test_the_network_sees_the_whole_of_a_digit() -> None:
    """What a cell says depends on pixels 14 away in every direction: half of the largest digit."""
    torch.manual_seed(0)
    net = CentreNet(classes=CLASSES, widths=(4, 8, 8), depth=1).eval()
    picture = torch.rand(1, 1, SIDE, SIDE, requires_grad=True)
    net(picture)[0, :, 8, 8].sum().backward()  # type: ignore[no-untyped-call]
    assert picture.grad is not None
    rows = picture.grad[0, 0].abs().sum(dim=1).nonzero().flatten()
    assert rows.min() <= 34 - 14
    assert rows.max() >= 34 + 14


def test_the_workload_scores_at_every_evaluation() -> None:
    workload = registry["detection"].function("nano")
    assert workload.predictions is not None
    assert workload.predictions.always
    metric("eval_map50")
    model = workload.build().eval()
    with torch.no_grad():
        batch = tuple(tensor[:16] for tensor in workload.held_out)
        assert 0 <= workload.predictions.score([workload.predictions.predict(model, batch)])["map50"] < 0.2
