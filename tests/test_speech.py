"""The spoken digits, and what two workloads make of them: spectrograms, levels, error rates, a sound."""

from __future__ import annotations

import math
import wave
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.workloads import Workload, deepspeech, mu_law, spectrogram, spoken_digits, synthesis, wavenet
from harness.workloads.character_errors import character_errors
from harness.workloads.models.deepspeech import DeepSpeech2, moments
from harness.workloads.models.wavenet import Memory, WaveNet
from harness.workloads.spoken_digits import Speech
from harness.workloads.synthesis import Utterance, synthesize

ASKED = [
    Utterance("en-us+Annie", 170, 50, "seven"),
    Utterance("en-gb-scotland+m3", 160, 45, "one two"),
    Utterance("en-us+Annie", 170, 50, "seven"),
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMOMETER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    recognition.cache_clear()
    torch.set_num_threads(threads)


@cache
def recognition() -> Workload:
    return deepspeech.deepspeech("nano")


# Synthesis


def test_the_same_utterances_sound_the_same_in_two_fresh_processes() -> None:
    first, again = synthesize(ASKED), synthesize(ASKED)
    assert [samples.tobytes() for samples in first] == [samples.tobytes() for samples in again]
    seconds = [len(samples) / synthesis.RATE for samples in first]
    assert all(0.2 < each < 2 for each in seconds)
    assert seconds[1] > seconds[0], "two words take longer than one"
    assert all(samples.dtype == np.int16 and np.abs(samples.astype(int)).max() > 3000 for samples in first)
    faster = synthesize([ASKED[0]._replace(speed=190)])
    assert faster[0].tobytes() != first[0].tobytes(), "control: what differs is heard"


def test_a_voice_that_is_not_there_is_said_by_name() -> None:
    with pytest.raises(RuntimeError, match=r"ended with code 1 .* no voice 'en-xx'"):
        synthesize([Utterance("en-xx", 160, 50, "one")])


def test_resampling_keeps_a_tone_and_takes_away_what_would_alias() -> None:
    moments = np.arange(22050) / 22050
    low, high = (np.rint(10000 * np.sin(2 * np.pi * hertz * moments)).astype(np.int16) for hertz in (1000, 5000))
    kept = synthesis._at_rate(low, 22050)
    assert len(kept) == 8000
    assert np.abs(np.fft.rfft(kept)).argmax() == 1000
    assert float(np.abs(kept[100:-100]).max()) == pytest.approx(10000, rel=0.02)
    assert float(np.abs(synthesis._at_rate(high, 22050)[100:-100]).max()) < 300


# Strings, voices, splits


def test_no_voice_and_no_string_is_in_both_splits() -> None:
    train = spoken_digits.utterances(spoken_digits.TRAIN_VARIANTS, spoken_digits.TRAIN_STRINGS, held_out=False)
    held_out = spoken_digits.utterances(spoken_digits.HELD_OUT_VARIANTS, spoken_digits.HELD_OUT_STRINGS, held_out=True)
    assert (len(train), len(held_out)) == (1280, 96)
    assert len({voice for voice, _ in train}) == 20
    assert len({voice for voice, _ in held_out}) == 6
    assert not {voice[0].split("+")[1] for voice, _ in train} & {voice[0].split("+")[1] for voice, _ in held_out}
    assert not {string for _, string in train} & {string for _, string in held_out}
    anything = [next(spoken_digits.strings(f"voice {number}", held_out=bool(number % 2))) for number in range(100)]
    assert [spoken_digits.belongs_to_held_out(string) for string in anything] == [False, True] * 50
    assert {len(string) for _, string in train} == {3, 4, 5}
    digits = "".join(string for _, string in train)
    assert all(400 < digits.count(str(digit)) < 620 for digit in range(10)), "each digit about as often"


def test_silence_at_both_ends_is_left_out() -> None:
    samples = np.array([0, 5, -64, 65, 0, 0, -900, 3, 0], dtype=np.int16)
    assert spoken_digits.without_silence(samples).tolist() == [65, 0, 0, -900]
    assert len(spoken_digits.without_silence(np.array([-32768], dtype=np.int16))) == 1
    with pytest.raises(ValueError, match="without a sound"):
        spoken_digits.without_silence(np.zeros(5, dtype=np.int16))


# Recognition


def test_a_spectrogram_shows_a_tone_where_it_is_and_silence_after_it() -> None:
    tone = np.rint(20000 * np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)).astype(np.int16)
    speech = Speech(tone, np.array([4000]), np.zeros((1, 5)))
    (values,) = spectrogram.log_spectrogram(speech, 8000, 65)
    assert values.shape == (101, 65)
    assert set(values[2:48].argmax(axis=1)) == {16}, "1000 Hz of 4000, in 64 steps"
    assert np.allclose(values[55:], math.log(spectrogram.FLOOR))


def test_samples_are_scaled_padded_and_long_enough_for_their_digits() -> None:
    values, _, labels = recognition().train
    within = torch.arange(values.shape[1]) < torch.from_numpy(spectrogram.spectrograms(65).train.frames)[:, None]
    assert float(values[within].mean()) == pytest.approx(0, abs=1e-2)
    assert float(values[within].std()) == pytest.approx(1, abs=1e-2)
    beyond = torch.arange(values.shape[1]) > torch.from_numpy(spectrogram.spectrograms(65).train.frames)[:, None]
    assert values[beyond].min() == values[beyond].max(), (
        "after the last frame that a sound reaches into there is silence"
    )
    repeats = ((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] > 0)).sum(1)
    for size in deepspeech.SIZES.values():
        frames = torch.from_numpy(spectrogram.spectrograms(65).train.frames)
        moments_there = moments(frames, [stride for stride, _ in size["strides"]])
        assert bool((moments_there >= (labels > 0).sum(1) + repeats).all()), "else the loss is infinite"
    assert isinstance(recognition().units_per_sample, Tensor)
    seconds = recognition().units_of(np.arange(len(values)))
    assert seconds == pytest.approx(1.26, abs=0.01), "padding does not count: with it 2.28"


@pytest.mark.parametrize("size", ["nano", "micro"])
@pytest.mark.parametrize("frames", [9, 16, 61])
def test_moments_are_those_of_the_model(size: str, frames: int) -> None:
    shape = deepspeech.SIZES[size]
    model = DeepSpeech2(**shape)
    strides = [stride for stride, _ in shape["strides"]]
    assert model(torch.zeros(1, frames, 65)).shape == (1, int(moments(torch.tensor(frames), strides)), 11)


class Said(nn.Module):
    """A model that says the same logits whatever it hears."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.logits = logits

    def forward(self, _heard: Tensor) -> Tensor:
        return self.logits


def test_the_loss_adds_all_alignments_and_hears_no_padding() -> None:
    logits = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0))
    batch = (torch.zeros(2), torch.tensor([3, 2]), torch.tensor([[4, 0, 0], [2, 7, 0]]))
    p = logits.softmax(-1).double()
    one = sum(float(p[0, 0, a] * p[0, 1, b] * p[0, 2, c]) for a, b, c in
              [(4, 4, 4), (4, 4, 0), (4, 0, 0), (0, 4, 4), (0, 4, 0), (0, 0, 4)])  # fmt: skip
    two = float(p[1, 0, 2] * p[1, 1, 7])
    expected = -(math.log(one) + math.log(two)) / 2
    assert float(deepspeech._loss(Said(logits), batch)) == pytest.approx(expected, rel=1e-5)
    later, earlier = logits.clone(), logits.clone()
    later[:, 3:], earlier[:, 1] = 9, 9 * torch.eye(11)[0]
    assert float(deepspeech._loss(Said(later), batch)) == pytest.approx(expected, rel=1e-5)
    assert float(deepspeech._loss(Said(earlier), batch)) != pytest.approx(expected, rel=1e-2), "control"


def test_the_loss_exists_in_bf16() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model = recognition().build()
        assert bool(recognition().loss(model, tuple(tensor[:2] for tensor in recognition().train)).isfinite())


def test_the_greedy_path_leaves_out_repeats_blanks_and_padding() -> None:
    assert deepspeech.greedy([[0, 1, 1, 0, 1, 10, 10, 3], [5, 5, 0, 0, 0, 0, 0, 0]], [7, 1]) == ["009", "4"]
    path = torch.tensor([[0, 1, 1, 0, 1, 10, 3], [5, 5, 0, 0, 0, 0, 2]])
    said = Said(nn.functional.one_hot(path, 11).float())
    batch = (torch.zeros(2), torch.tensor([6, 6]), torch.tensor([[1, 1, 10, 10, 0], [5, 2, 0, 0, 0]]))
    edits, characters = deepspeech._evaluate(said, batch)["cer"]
    assert (int(edits), characters) == (2, 6), "0099 heard as 009, 41 as 4"


def test_character_errors_add_up() -> None:
    assert character_errors(["123", "45"], ["123", "45"]) == (0, 5)
    assert character_errors(["123", "45"], ["", "4455"]) == (5, 5)
    assert character_errors(["123"], ["13"]) == (1, 3)
    assert character_errors(["123"], ["9321"]) == (3, 3)


def test_trivial_listeners_are_scored() -> None:
    assert spectrogram.trivial(["12", "34", "12"], ["12", "99"]) == {"blank": 1.0, "most_frequent_string": 0.5}
    assert recognition().trivial["blank"] == 1.0
    assert 0.8 < recognition().trivial["most_frequent_string"] < 1.0


# Synthesis by a network


def test_levels_are_those_of_the_formula_and_come_back() -> None:
    assert mu_law.encode(np.array([0, -32768, 32767, 1, -1, 328], dtype=np.int16)).tolist() == [
        128,
        0,
        255,
        128,
        127,
        157,
    ]
    every = np.arange(-32768, 32768).astype(np.int16)
    levels = mu_law.encode(every)
    assert bool((np.diff(levels.astype(int)) >= 0).all())
    assert len(np.unique(levels)) == 256
    error = np.abs(mu_law.decode(levels).astype(int) - every)
    assert float((error / (np.abs(every.astype(int)) + 200)).max()) < 0.025, "half a step, ln 256 ÷ 255, is 0.0217"
    assert mu_law.encode(mu_law.decode(np.arange(256, dtype=np.uint8))).tolist() == list(range(256))


def test_crops_follow_one_another_and_silence_is_none() -> None:
    levels = np.array([[1, 2, 3, 4, 5], [8, 8, 8, 8, 9]], dtype=np.uint8)
    assert mu_law.crops(levels, 2).tolist() == [[1, 2, 3], [3, 4, 5], [8, 8, 9]]
    assert mu_law.crops(levels, 4).tolist() == [[1, 2, 3, 4, 5], [8, 8, 8, 8, 9]]


def test_a_passage_of_each_utterance_begins_elsewhere() -> None:
    ramp = np.arange(6000, dtype=np.int16) * 5
    cut = mu_law.cut(Speech(np.concatenate([ramp, ramp]), np.array([6000, 6000]), np.zeros((2, 5))))
    assert cut.shape == (2, mu_law.PASSAGE + 1)
    assert (int(cut[0, 0]), bool(cut[1, 0] > cut[0, 0])) == (128, True)
    with pytest.raises(ValueError, match="an utterance of 4096"):
        mu_law.cut(Speech(ramp[:4096], np.array([4096]), np.zeros((1, 5))))


def test_trivial_speakers_count() -> None:
    single, pairs = np.zeros(256, dtype=int), np.zeros((256, 256), dtype=int)
    single[[3, 4]], pairs[3, 4] = [128, 128], 256
    found = mu_law.trivial(mu_law.Passages(single, single, single, pairs, ""), np.array([[3, 4]], dtype=np.uint8))
    assert found == pytest.approx({"unigram": -math.log2(129 / 512), "previous_sample": -math.log2(257 / 512)})


def small_wavenet() -> WaveNet:
    torch.manual_seed(0)
    return WaveNet(levels=256, layers=6, stacks=2, residual=8, gate=8, skip=8).eval()


def test_a_sample_is_predicted_from_those_before_it_alone() -> None:
    model, ids = small_wavenet(), torch.randint(256, (1, 40), generator=torch.Generator().manual_seed(1))
    other = ids.clone()
    other[0, 20] = (ids[0, 20] + 9) % 256
    with torch.no_grad():
        differs = (model(ids) - model(other)).abs().amax(dim=1)[0]
    field = 1 + 2 * (1 + 2 + 4)
    assert not bool(differs[:20].any())
    assert not bool(differs[20 + field :].any())
    assert bool(differs[20] > 0)
    assert bool(differs[20 + field - 1] > 0)


def by_moments(model: WaveNet, ids: Tensor, memory: Memory) -> Tensor:
    return torch.cat([model(ids[:, moment : moment + 1], memory) for moment in range(ids.shape[1])], dim=2)


def test_moment_by_moment_the_model_says_what_it_says_at_once() -> None:
    model, ids = small_wavenet(), torch.randint(256, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(ids)
        assert torch.allclose(by_moments(model, ids, Memory(model.dilations)), whole, atol=1e-5)
        wrong = by_moments(model, ids, Memory([each + 1 for each in model.dilations]))
        assert not torch.allclose(wrong, whole, atol=1e-2), "control: queues that are too long"


def test_a_sound_depends_on_the_generator_alone() -> None:
    model = small_wavenet()
    with torch.no_grad():
        one, same, other = (wavenet.generate(model, 50, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len(one.unique()) > 10


def test_a_trained_model_leaves_a_sound_file(tmp_path: Path) -> None:
    workload = wavenet.wavenet("nano")
    assert workload.artifacts is not None
    with torch.no_grad():
        made = workload.artifacts(workload.build().eval(), tmp_path)
    with wave.open(str(made["generated speech"]), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        assert file.getnframes() / file.getframerate() >= 0.25
        heard = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    assert len(np.unique(heard)) > 10


def test_smoothing_is_of_the_training_loss_alone() -> None:
    plain, smooth = wavenet.wavenet("nano"), wavenet.wavenet("nano", label_smoothing=0.1)
    model, batch = plain.build(), (plain.train[0][:4],)
    with torch.no_grad():
        assert float(smooth.loss(model, batch)) != pytest.approx(float(plain.loss(model, batch)), rel=1e-4)
        (one, _), (other, _) = (each.evaluate(model, batch)["bits_per_sample"] for each in (plain, smooth))
    assert one == other
