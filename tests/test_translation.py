"""Translation: pairs, byte pairs, the encoder-decoder, its loss, greedy decoding and what is scored."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.measure.dropout import rates_of
from harness.measure.flops import flops_per_sample
from harness.workloads import Workload, locale_pairs, registry, translated
from harness.workloads.models.transformer import EncoderLayer, Join, branch_rates
from harness.workloads.models.translator import PublishedTranslator, Translator
from harness.workloads.translated import BEGIN, END, Translated, letters_of_bytes, padded

TINY = {"vocabulary": 1000, "context": 32, "layers": 2, "width": 16, "heads": 2, "inner": 32}
OFF = {"dropout": 0.0, "stochastic_depth": 0.0}


@pytest.fixture(scope="module", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMOMETER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    pairs.cache_clear()


@cache
def pairs() -> dict[str, str]:
    return locale_pairs.pairs()


@cache
def data() -> Translated:
    return translated.translated()


def workload(**options: object) -> Workload:
    found: Workload = registry["translation"].function("nano", **options)
    return found


def batch(samples: int = 6) -> tuple[Tensor, ...]:
    return tuple(tensor[:samples] for tensor in workload().train)


# Data


def test_strings_are_those_of_the_locale_data() -> None:
    found = pairs()
    assert len(found) > 20_000
    assert found["Germany"] == "Allemagne"
    assert found["Breton"] == "breton"
    dates = [source for source in found if source.startswith(("Monday, ", "Friday, "))]
    assert len(dates) > 100
    assert {found[source].split()[0] for source in dates} == {"lundi", "vendredi"}
    dollars = [(source, target) for source, target in found.items() if source.endswith(" US dollars")]
    assert dollars
    assert all(target.endswith("dollars des États-Unis") for _, target in dollars)


def test_draws_are_those_of_a_generator_that_python_promises_to_keep() -> None:
    draw = locale_pairs.Draw(random.Random(0))
    assert [draw.below(1000) for _ in range(4)] == [844, 757, 420, 258]


def test_the_split_depends_on_content_alone() -> None:
    some = {f"source {number}": f"cible {number}" for number in range(50)}
    backwards = dict(reversed(some.items()))
    assert translated.split(some) == translated.split(backwards)
    train, held = translated.split(some)
    assert len(held) == 5
    assert {*train, *held} == set(some.items())
    assert not {*train} & {*held}


def test_tokens_stand_for_the_strings_they_were_made_of() -> None:
    french = set(pairs().values())
    written = [data().text(row) for row in data().held_out_target]
    assert all(text in french for text in written)
    english = [data().text([*row, END]) for row in data().held_out_source]
    assert [pairs()[text] for text in english] == written
    broken = Translated(**{**vars(data()), "pieces": (*data().pieces[:-200], *[b"?"] * 200)})
    assert any(broken.text(row) not in french for row in data().held_out_target), "control: other pieces are noticed"


def test_targets_begin_and_end_and_padding_comes_last() -> None:
    for target in (data().train_target, data().held_out_target):
        assert np.all(target[:, 0] == BEGIN)
        assert np.all((target == END).sum(axis=1) == 1)
        lengths = (target != 0).sum(axis=1)
        assert np.all(target[np.arange(len(target)), lengths - 1] == END)
    assert padded([[3], [4, 5]], 3).tolist() == [[3, 0, 0], [4, 5, 0]]


def test_letters_of_bytes_are_the_librarys() -> None:
    from tokenizers import pre_tokenizers

    assert len(set(letters_of_bytes())) == 256
    assert set(letters_of_bytes()) == set(pre_tokenizers.ByteLevel.alphabet())
    ((word, _),) = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(" à\u202f")
    assert "".join(letters_of_bytes()[byte] for byte in " à\u202f".encode()) == word


def test_unigram_is_its_formula() -> None:
    train, held = np.array([[1, 5, 5, 2, 0]]), np.array([[1, 5, 2, 0, 0]])
    whole = 3 + translated.VOCABULARY
    assert translated.unigram(train, held) == pytest.approx(-(math.log(3 / whole) + math.log(2 / whole)) / 2)
    assert 4 < data().trivial["unigram"] < 5.5
    assert 0 < data().copied < 0.1


def test_with_a_warm_cache_nothing_slow_is_imported() -> None:
    data()
    code = "import sys; from harness.workloads import registry; registry['translation'].function('nano'){};"
    code += "print(*[name for name in ('babel', 'tokenizers', 'sacrebleu', 'transformers') if name in sys.modules])"
    found = [
        subprocess.run([sys.executable, "-c", code.format(more)], capture_output=True, text=True, check=True).stdout
        for more in ("", "; import sacrebleu")
    ]
    assert found == ["\n", "sacrebleu\n"], "the second is the control"


# Loss


def test_padding_is_no_part_of_the_loss_and_its_scale_is_that_of_a_mean_sample() -> None:
    torch.manual_seed(0)
    model, (source, target) = workload().build().eval(), batch()
    nats = sum(
        nn.functional.cross_entropy(model(one[None], row[None, : end - 1])[0], row[1:end], reduction="sum").item()
        for one, row, end in zip(source, target, (target != 0).sum(dim=1).tolist(), strict=True)
    )
    mean = float((workload().train[1][:, 1:] != 0).sum(dim=1).double().mean())
    assert workload().loss(model, (source, target)).item() == pytest.approx(nats / (6 * mean), rel=1e-5)
    total, tokens = workload().evaluate(model, (source, target))["nats_per_token"]
    assert total.item() == pytest.approx(nats, rel=1e-5)
    assert tokens == int((target[:, 1:] != 0).sum()) == workload().units_of(np.arange(6)) * 6


def test_label_smoothing_is_in_training_alone() -> None:
    torch.manual_seed(0)
    model, smooth = workload().build().eval(), workload(label_smoothing=0.3)
    assert not torch.equal(smooth.loss(model, batch()), workload().loss(model, batch()))
    one, other = (each.evaluate(model, batch())["nats_per_token"] for each in (smooth, workload()))
    assert torch.equal(one[0], other[0])


# Decoding


class Knows(nn.Module):
    """Writes the translation of each source that it was told, or nothing at all."""

    def __init__(self, known: tuple[Tensor, ...], silent: bool = False):
        super().__init__()
        self.known = {source.numpy().tobytes(): target.clone() for source, target in zip(*known, strict=True)}
        for target in self.known.values():
            target[1] = END if silent else target[1]

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        rows = torch.stack([self.known[row.numpy().tobytes()] for row in source])
        following = nn.functional.pad(rows, (0, 1))[:, 1 : 1 + target.shape[1]]
        return nn.functional.one_hot(following, 1100).float()


@pytest.mark.parametrize("silent", [False, True])
def test_who_knows_all_translations_scores_full_marks(silent: bool) -> None:
    held_out, predictions = workload().held_out, workload().predictions
    assert predictions is not None
    assert not predictions.always
    model = Knows(held_out, silent)
    parts = [tuple(tensor[first : first + 20] for tensor in held_out) for first in (0, 20)]
    found = predictions.score([predictions.predict(model, part) for part in parts])
    marks = 0 if silent else 1
    assert found == pytest.approx({"bleu": 100 * marks, "chrf": 100 * marks, "exact_match": marks})


def test_decoding_goes_on_from_what_was_written() -> None:
    torch.manual_seed(0)
    model, predictions = workload().build().eval(), workload().predictions
    assert predictions is not None
    with torch.no_grad():
        written, _ = predictions.predict(model, batch(3))
        again = model(batch(3)[0], torch.cat((torch.full((3, 1), BEGIN), written), dim=1)[:, :-1])
    assert torch.equal(again.argmax(dim=-1), written)


# Model


def models() -> list[nn.Module]:
    torch.manual_seed(0)
    return [Translator(**TINY).eval(), PublishedTranslator(**TINY, **OFF).eval()]


@pytest.mark.parametrize("number", [0, 1], ids=["own", "published"])
def test_what_is_written_depends_on_the_source_and_on_what_stands_before(number: int) -> None:
    model = models()[number].double()
    source, target = torch.randint(3, 1000, (2, 9)), torch.randint(3, 1000, (2, 7))
    logits = model(source, target)
    later = torch.cat((target[:, :5], target[:, 5:] - 1), dim=1)
    assert torch.allclose(model(source, later)[:, :5], logits[:, :5], atol=1e-10)
    assert not torch.allclose(model(source, later)[:, 5:], logits[:, 5:], atol=1e-6)
    assert torch.allclose(model(nn.functional.pad(source, (0, 4)), target), logits, atol=1e-10), "padding is seen"
    assert not torch.allclose(model(source[:, [1, 0, *range(2, 9)]], target), logits, atol=1e-6), "order is not"


def test_the_published_model_is_trained_evaluated_and_decoded_like_ours() -> None:
    model, own = models()[1], workload()
    loss = own.loss(model, batch())
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters() if p.requires_grad)
    assert own.evaluate(model, batch())["nats_per_token"][1] > 0
    assert own.predictions is not None
    with torch.no_grad():
        assert own.predictions.predict(model, batch(2))[0].shape == (2, translated.TARGET_LENGTH)


@pytest.mark.parametrize("kind", [Translator, PublishedTranslator])
def test_dropout_and_stochastic_depth_are_rates_that_can_be_switched_off(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    assert rates_of([kind(**TINY, **OFF)]) == []
    for option in ("dropout", "stochastic_depth"):
        model, inputs = kind(**TINY, **{**OFF, option: 0.5}), batch()
        source, target = inputs[0], inputs[1][:, :-1]
        assert not torch.equal(model(source, target), model(source, target)), option
        for module, name, _rate in rates_of([model]):
            setattr(module, name, 0.0)
        before = torch.get_rng_state()
        assert torch.equal(model(source, target), model(source, target))
        assert torch.equal(torch.get_rng_state(), before), "switched off, and random numbers are drawn all the same"


def test_stochastic_depth_grows_with_depth_and_keeps_the_mean() -> None:
    assert branch_rates(0.3, 3) == pytest.approx([0.1, 0.2, 0.3])
    torch.manual_seed(0)
    x, branch = torch.zeros(20_000, 1, 1), torch.ones(20_000, 1, 1)
    joined = Join(0.0, 0.25)(x, branch)
    assert joined.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert joined.mean().item() == pytest.approx(1, abs=0.02)
    layer = EncoderLayer(16, 2, 32, 0.0, 0.999_999)
    states, mask = torch.randn(4, 5, 16), torch.ones(4, 1, 1, 5, dtype=torch.bool)
    assert torch.equal(layer(states, mask), states)
    assert not torch.equal(layer.eval()(states, mask), states)


def test_operations_of_the_largest_size_are_counted_without_memory() -> None:
    flops, place = flops_per_sample(registry["translation"].function("big"))
    assert place == "meta"
    assert flops > 1e10
