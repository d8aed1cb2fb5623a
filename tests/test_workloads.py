"""The data of the workloads are split by content; the models do what their names say."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.schema.suite import Recipe
from harness.workloads import WorkloadFacts, registry, text
from harness.workloads.data import Arrays
from harness.workloads.digits import digits
from harness.workloads.digits import split as split_digits
from harness.workloads.models.gpt import GPT, rotate
from harness.workloads.models.resnet import Block, ResNet
from harness.workloads.resnet import enlarge

TINY = {"vocabulary": 11, "context": 8, "layers": 2, "width": 16, "heads": 2}


@pytest.fixture(scope="module", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMOMETER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("name", ["gpt", "resnet"])
def test_a_warm_workload_is_ready_in_milliseconds(name: str) -> None:
    registry[name].function("nano")
    seconds = []
    for _ in range(5):
        start = time.process_time()
        registry[name].function("nano")
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05


def shingles(passages: np.ndarray[Any, Any], length: int = 65) -> set[bytes]:
    cut = np.lib.stride_tricks.sliding_window_view(passages, length, axis=1).reshape(-1, length)
    return {row.tobytes() for row in cut}


def paragraphs(count: int) -> list[str]:
    words = np.random.default_rng(0).integers(0, 1000, (count, 40))
    return [" ".join(f"w{word}" for word in row) for row in words]


def leak(parts: Arrays) -> float:
    """Share of the held-out stretches of 65 characters that stand in the training passages too."""
    held = shingles(parts["held_out"])
    return len(held & shingles(parts["train"])) / len(held)


def test_text_that_stands_there_twice_does_not_leak() -> None:
    once = paragraphs(200)
    assert leak(text.split("\n\n".join(once + [f"  {paragraph}  " for paragraph in once]))) == 0


def test_a_leak_of_text_would_be_noticed() -> None:
    """Negative control: the copies differ in a letter each, so that they are not taken for the same."""
    once = paragraphs(200)
    assert leak(text.split("\n\n".join(once + [paragraph + "x" for paragraph in once]))) > 0.5


def test_the_real_text_hardly_leaks() -> None:
    data = text.characters()
    assert leak({"train": data.train, "held_out": data.held_out}) < 0.03


def test_the_real_text_is_split_by_content() -> None:
    data = text.characters()
    assert data.train.shape[1] == data.held_out.shape[1] == 1025
    assert len(data.held_out) == round(0.1 * (len(data.train) + len(data.held_out)))
    held, train = (
        [hashlib.sha256(passage.tobytes()).digest() for passage in passages] for passages in (data.held_out, data.train)
    )
    assert max(held) < min(train)
    assert data.train.max() < data.vocabulary
    assert data.unigram.sum() == data.train.size


@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_windows_predict_each_id_of_a_passage_once(context: int, times: int, count: int) -> None:
    passages = np.arange(count * (context * times + 1)).reshape(count, -1)
    samples = text.windows(passages, context)
    assert samples.shape == (count * times, context + 1)
    assert samples.dtype == np.int64
    assert np.array_equal(np.sort(samples[:, 1:].ravel()), np.sort(passages[:, 1:].ravel()))
    assert all(np.array_equal(row, np.arange(row[0], row[0] + context + 1)) for row in samples)
    assert set(samples[:, 0] // passages.shape[1]) == set(range(count))


def test_evenly_keeps_first_and_last() -> None:
    samples = np.arange(100)
    assert text.evenly(samples, 5).tolist() == [0, 25, 50, 74, 99]
    assert text.evenly(samples, 100).tolist() == text.evenly(samples, 200).tolist() == samples.tolist()


def test_trivial_baselines_are_their_formulas() -> None:
    train, sample = np.array([[0, 1, 0, 1, 2]]), np.array([[0, 1, 2]])
    data = text.Characters(3, train, sample, np.bincount(train[0]), text.pair_counts(train, 3), "")
    assert data.bigram.tolist() == [[0, 2, 0], [1, 0, 1], [0, 0, 0]]
    found = text.trivial(data, sample)
    assert found["unigram"] == pytest.approx(-(math.log(3 / 8) + math.log(2 / 8)) / 2)
    assert found["bigram"] == pytest.approx(-(math.log(3 / 5) + math.log(2 / 5)) / 2)


def test_trivial_baselines_of_the_real_text_are_far_from_the_target() -> None:
    found = registry["gpt"].function("micro").trivial
    assert 3.0 < found["unigram"] < 3.5
    assert 2.2 < found["bigram"] < 2.6


def test_held_out_windows_are_few_and_the_context_can_be_chosen() -> None:
    workload = registry["gpt"].function("nano", context=32)
    assert workload.train[0].shape[1] == 33
    assert workload.held_out[0].shape == (64, 33)
    assert workload.units_per_sample == 32
    assert registry["gpt"].function("nano").units_per_sample == 64


@pytest.mark.parametrize("options", [{"context": 4096}, {"context": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_impossible_options_are_found_before_anything_starts(options: dict[str, object]) -> None:
    assert len(registry["gpt"].check(options, "suite.toml", "gpt")) == 1
    assert registry["gpt"].check({"context": 32, "dropout": 0.1}, "suite.toml", "gpt") == []


def test_digits_are_split_within_each_class() -> None:
    data = digits()
    train, held_out = np.bincount(data.train_labels), np.bincount(data.held_out_labels)
    assert train.sum() + held_out.sum() == 1797
    assert np.all(np.abs(held_out / (train + held_out) - 0.2) < 0.005)
    assert data.train_pictures.max() == 16
    assert 0.09 < data.trivial["majority"] < 0.12
    assert 0.93 < data.trivial["logistic_regression"] < 0.97


def test_the_split_of_pictures_depends_on_content_and_not_on_order() -> None:
    rng = np.random.default_rng(0)
    pictures, labels = rng.integers(0, 17, (50, 8, 8)).astype(np.uint8), np.arange(50) % 5
    shuffled = rng.permutation(50)
    one, other = split_digits(pictures, labels), split_digits(pictures[shuffled], labels[shuffled])
    held = [{picture.tobytes() for picture in parts["held_out_pictures"]} for parts in (one, other)]
    assert held[0] == held[1]
    assert len(held[0]) == 10


def test_a_picture_that_is_there_twice_is_taken_once() -> None:
    pictures = np.random.default_rng(0).integers(0, 17, (20, 8, 8)).astype(np.uint8)
    parts = split_digits(np.concatenate((pictures, pictures)), np.zeros(40, dtype=np.int64))
    assert len(parts["train_pictures"]) + len(parts["held_out_pictures"]) == 20


def test_enlarging_keeps_constants_and_ramps() -> None:
    flat = enlarge(np.full((1, 8, 8), 16, dtype=np.uint8))
    assert flat.shape == (1, 1, 32, 32)
    assert torch.equal(flat, torch.ones_like(flat))
    ramp = enlarge(np.tile(np.arange(8, dtype=np.uint8), (1, 8, 1)))[0, 0, 0]
    assert torch.allclose(ramp[2:30].diff(), torch.full((27,), 1 / 4 / 16))


@pytest.mark.parametrize("rotary", [True, False])
def test_gpt_sees_no_character_that_comes_later(rotary: bool) -> None:
    torch.manual_seed(0)
    model = GPT(**TINY, rotary=rotary).eval()
    tokens = torch.randint(0, 11, (2, 8))
    changed = tokens.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    one, other = model(tokens), model(changed)
    assert torch.allclose(one[:, :5], other[:, :5], atol=1e-6)
    assert not torch.allclose(one[:, 5:], other[:, 5:], atol=1e-3)


@pytest.mark.parametrize("rotary", [True, False])
def test_gpt_knows_the_order_of_what_it_sees(rotary: bool) -> None:
    torch.manual_seed(0)
    model = GPT(**TINY, rotary=rotary).eval()
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8]])
    swapped = torch.tensor([[2, 1, 3, 4, 5, 6, 7, 8]])
    assert not torch.allclose(model(tokens)[:, -1], model(swapped)[:, -1], atol=1e-5)


def test_rotation_leaves_lengths_and_depends_on_distance_alone() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 8).expand(2, 1, 1, 6, 8)
    turned_q, turned_k = rotate(q), rotate(k)
    assert torch.allclose(turned_q.norm(dim=-1), q.norm(dim=-1), atol=1e-5)
    scores = (turned_q @ turned_k.transpose(-1, -2))[0, 0]
    assert torch.allclose(scores[1:, 1:], scores[:-1, :-1], atol=1e-5)
    assert not torch.allclose(scores[0], scores[1], atol=1e-3)


def test_gpt_ties_embedding_and_output_and_starts_as_published() -> None:
    torch.manual_seed(0)
    model = GPT(vocabulary=500, context=64, layers=2, width=768, heads=12)
    assert model.readout.head.weight is model.embedding.token.weight
    assert model.embedding.token.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.blocks[0].mlp.up.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.blocks[0].mlp.down.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not model.blocks[0].attention.q.bias.any()


def test_dropout_is_only_in_training() -> None:
    tokens = torch.zeros(1, 8, dtype=torch.int64)
    model = GPT(**TINY, dropout=0.5)
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))
    without = GPT(**TINY)
    assert torch.equal(without(tokens), without(tokens))


@pytest.mark.parametrize("bottleneck", [False, True])
def test_resnet_shapes(bottleneck: bool) -> None:
    model = ResNet(channels=1, classes=10, widths=(8, 16), depths=(1, 2), bottleneck=bottleneck)
    assert model(torch.zeros(3, 1, 32, 32)).shape == (3, 10)
    assert model.blocks(model.stem(torch.zeros(3, 1, 32, 32))).shape == (3, 16, 8, 8)
    published = ResNet(channels=1, classes=10, widths=(8, 16), depths=(1, 1), imagenet_stem=True)
    assert published.stem(torch.zeros(1, 1, 224, 224)).shape == (1, 64, 56, 56)


def test_a_block_that_adds_nothing_passes_positive_values_on() -> None:
    block = Block(4, 4, 1, bottleneck=False).eval()
    last = block.branch[-1][1]
    assert isinstance(last, nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    x = torch.rand(2, 4, 5, 5)
    assert torch.equal(block(x), x)


def test_a_size_can_have_a_recipe_of_its_own() -> None:
    recipe = Recipe(optimizer="adamw", lr=1e-2, schedule="constant", weight_decay=0.1, clip=1.0, regularizers=())
    facts = WorkloadFacts({"a": {}, "b": {}}, "token", "x", "lower", 1.0, recipe, recipes={"b": Recipe(lr=1e-4)})
    assert facts.recipe_for("a") == recipe
    assert facts.recipe_for("b") == recipe.model_copy(update={"lr": 1e-4})
    assert registry["gpt"].facts.recipe_for("xl").lr == 2e-4
