"""Question answering: clozes, arrays, types that tell matches, spans, EM and F1, the encoder and BERT."""

from __future__ import annotations

import itertools
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
from harness.workloads import Workload, cloze, reading, registry
from harness.workloads.cloze import BLANK, Cloze, Draws, names, paragraphs
from harness.workloads.models.reader import PublishedReader, Reader
from harness.workloads.qa import best_spans, compared, shared
from harness.workloads.reading import CONTEXT, MATCH, PADDING, QUESTION, SEPARATOR

TINY = {"vocabulary": 4000, "types": 3, "context": 128, "layers": 2, "width": 16, "heads": 2, "inner": 32}
OFF = {"dropout": 0.0, "stochastic_depth": 0.0}
LINE = (
    "In 1843 the engine was described by Ada Lovelace. "
    "Her friend Charles Babbage had drawn it in London. "
    "Both met again in 1850 at the house of Mary Somerville."
)


@pytest.fixture(scope="module", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMOMETER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@cache
def workload(**options: object) -> Workload:
    found: Workload = registry["qa"].function("nano", **options)
    return found


def batch(samples: int = 6, **options: object) -> tuple[Tensor, ...]:
    return tuple(tensor[:samples] for tensor in workload(**options).train)


# Clozes


def test_names_are_words_with_capitals_and_numbers_but_not_the_first_word() -> None:
    words = ["The", "Analytical", "Engine", "of", "Charles", "Babbage", "cost", "1,200", "in", "1837", "."]
    assert [words[first : last + 1] for first, last in names(words)] == [
        ["Analytical", "Engine"],
        ["Charles", "Babbage"],
        ["1,200"],
        ["1837"],
    ]
    assert names(["Of", "A", "B", "C", "D", "E", "only"]) == []
    assert names(["see", "Ada"]) == [(1, 1)]


def test_a_paragraph_is_cut_into_sentences_and_words() -> None:
    assert list(paragraphs(f"== Heading ==\n* {LINE}\nshort\n{LINE}")) == [
        [
            ("In", "1843", "the", "engine", "was", "described", "by", "Ada", "Lovelace", "."),
            ("Her", "friend", "Charles", "Babbage", "had", "drawn", "it", "in", "London", "."),
            ("Both", "met", "again", "in", "1850", "at", "the", "house", "of", "Mary", "Somerville", "."),
        ]
    ]


def test_a_question_is_a_sentence_of_the_context_without_its_answer() -> None:
    found = cloze.clozes(LINE)
    assert len(found) == 3
    for each in found:
        sentence = next(sentence for (sentences,) in [paragraphs(LINE)] for sentence in sentences
                        if reading.within(each, each.answer)[0] in sentence)  # fmt: skip
        answer = reading.within(each, each.answer)
        assert each.answer in each.candidates
        assert each.question.count(BLANK) == 1
        assert not set(answer) & set(each.question)
        left = iter(sentence)
        assert all(word in left for word in each.question if word != BLANK), "words of the sentence, in their order"
    assert found == cloze.clozes(LINE), "the same each time"


def test_contexts_that_are_long_or_have_few_names_are_none() -> None:
    assert (
        cloze.clozes(LINE.replace("1850", "spring").replace("1843", "fact").replace("Mary Somerville", "a friend"))
        == []
    )
    assert cloze.clozes(LINE.replace("engine", "engine " * 60)) == []


def test_draws_depend_on_the_text_alone() -> None:
    one, same, other = Draws("a"), Draws("a"), Draws("b")
    first = [one.below(1000) for _ in range(20)]
    assert first == [same.below(1000) for _ in range(20)] != [other.below(1000) for _ in range(20)]
    assert len(set(first)) > 15


# Arrays


def test_an_article_is_trained_on_or_held_out() -> None:
    articles = [LINE.replace("engine", f"engine number{number}") for number in range(25)]
    train, held = reading.split(articles)
    assert len(held) == 3 * 3
    assert len(train) == 22 * 3
    assert not {each.context for each in train} & {each.context for each in held}
    assert reading.split(articles[::-1])[1] == held
    assert reading.split([*articles, *articles]) == (train, held), "a copy of an article is no further article"


def test_arrays_say_what_the_words_say() -> None:
    each = Cloze(("Ada", "met", BLANK, "."), ("Ada", "met", "the", "Queen", "."), (2, 3), ((0, 0), (3, 3)))
    arrays = reading.samples([each], {"met": 9, ".": 10}, {"ada": 1, "met": 2, "the": 0, "queen": 3, ".": 0})
    unknown = reading.UNKNOWN_NAME
    assert arrays["tokens"][0, :11].tolist() == [unknown, 9, 2, 10, SEPARATOR, unknown, 9, 3, unknown, 10, PADDING]
    assert arrays["types"][0, :11].tolist() == [QUESTION] * 5 + [MATCH, MATCH, CONTEXT, CONTEXT, MATCH, QUESTION]
    assert arrays["words"][0, :11].tolist() == [0] * 5 + [1, 2, 0, 3, 0, 0]
    assert arrays["spans"].tolist() == [[7, 8]]


def test_no_question_tells_its_answer() -> None:
    def told(types: Tensor, spans: Tensor) -> int:
        places = torch.arange(types.shape[1])
        inside = (places >= spans[:, :1]) & (places <= spans[:, 1:])
        return int(((types == MATCH) & inside).any(dim=1).sum())

    for _tokens, types, spans, _words in (workload().train, workload().held_out):
        assert told(types, spans) == 0
        planted = types.clone()
        planted[3, spans[3, 0]] = MATCH
        assert told(planted, spans) == 1, "control: a question that tells"


def test_without_match_types_the_types_tell_nothing_that_tokens_do_not() -> None:
    """Negative control of the types: what is left is which places are the context's."""
    tokens, types, *_ = workload(match_types=False).held_out
    after = (tokens == SEPARATOR).int().cumsum(dim=1) - (tokens == SEPARATOR).int()
    by_tokens = torch.where((after > 0) & (tokens != PADDING), CONTEXT, QUESTION)
    assert torch.equal(types, by_tokens)
    assert torch.equal(tokens, workload().held_out[0])
    with_match = workload().held_out[1]
    assert not torch.equal(with_match, by_tokens)
    assert torch.equal(with_match.clamp(max=CONTEXT), by_tokens)


def test_baselines_are_their_rules() -> None:
    context = (
        *["Then", "Ada", "met", "Queen", "Mary", "in", "a", "garden", ".", "Then", "she", "left", "London", "."],
    )
    ada, mary, london = spans = ((1, 1), (3, 4), (12, 12))
    question = ("then", "she", "left", BLANK, ".")

    def first(question: tuple[str, ...], answer: tuple[int, int], asked: bool) -> float:
        return reading.score([Cloze(question, context, answer, spans)], lambda _, __: 0, asked)

    assert [first(question, span, asked=True) for span in spans] == [1, 0, 0]
    assert [first((*question, "ADA"), span, asked=False) for span in spans] == [0, 1, 0]
    assert first(("ada", "queen", "london", BLANK), mary, asked=False) == 0, "no candidate is left"
    by_rule = [reading.score([Cloze(question, context, span, spans)], reading.overlap, asked=False) for span in spans]
    assert by_rule == [0, 0, 1]
    assert first(question, ada, asked=False) == 1
    assert first(question, london, asked=False) == 0
    found = reading.reading()
    assert 0.1 < found.trivial["first_candidate"] < found.trivial["first_unasked_candidate"] < 0.45 < found.by_rule


def test_with_a_warm_cache_nothing_slow_is_imported() -> None:
    workload()
    code = "import sys; from harness.workloads import registry; registry['qa'].function('nano'){};"
    code += "print(*[name for name in ('gensim', 'transformers') if name in sys.modules])"
    found = [
        subprocess.run([sys.executable, "-c", code.format(more)], capture_output=True, text=True, check=True).stdout
        for more in ("", "; import gensim")
    ]
    assert found == ["\n", "gensim\n"], "the second is the control"


# Answers


def test_the_best_span_is_the_best_of_all() -> None:
    scores = torch.randn(5, 12, 2, generator=torch.Generator().manual_seed(0))
    for row, (first, last) in zip(scores, best_spans(scores).tolist(), strict=True):
        spans = [(a, b) for a, b in itertools.product(range(12), repeat=2) if a <= b < a + cloze.ANSWER_WORDS]
        assert (first, last) == max(spans, key=lambda span: float(row[span[0], 0] + row[span[1], 1]))


def test_f1_is_that_of_bags_of_words() -> None:
    assert compared([0, 4, 0, 5, 6], 0, 3) == [4, 5]
    assert shared([4, 5], [5, 4]) == 1
    assert shared([4, 5, 5], [5]) == pytest.approx(0.5)
    assert shared([4], [5]) == shared([], [5]) == 0


class Points(nn.Module):
    """Knows the spans of a batch, or those one place later."""

    def __init__(self, spans: Tensor, off: int = 0):
        super().__init__()
        self.spans = spans + off

    def forward(self, tokens: Tensor, types: Tensor) -> Tensor:
        return nn.functional.one_hot(self.spans, tokens.shape[1]).transpose(1, 2) * 9.0


def test_who_knows_the_spans_has_full_marks() -> None:
    samples = batch(200)
    found = workload().evaluate(Points(samples[2]), samples)
    assert {name: (float(total), count) for name, (total, count) in found.items()} == {
        "exact_match": (200, 200),
        "f1": (200, 200),
    }
    beside = workload().evaluate(Points(samples[2], 1), samples)
    assert float(beside["exact_match"][0]) <= float(beside["f1"][0]) < 150


def test_the_same_words_elsewhere_are_the_answer_too() -> None:
    tokens, types, spans, words = batch(1)
    first, last = spans[0].tolist()
    elsewhere = words.clone()
    start = int((types[0] != QUESTION).nonzero()[0])
    place = start if first - start > 4 else last + 2
    elsewhere[0, place : place + last - first + 1] = words[0, first : last + 1]
    model = Points(torch.tensor([[place, place + last - first]]))
    assert float(workload().evaluate(model, (tokens, types, spans, elsewhere))["exact_match"][0]) == 1
    assert float(workload().evaluate(model, (tokens, types, spans, words))["exact_match"][0]) == 0


# Loss


def test_places_outside_of_the_context_take_no_part() -> None:
    tokens, types, spans, words = batch()
    scores = torch.randn(*tokens.shape, 2, generator=torch.Generator().manual_seed(0))

    class Fixed(nn.Module):
        def forward(self, tokens: Tensor, types: Tensor) -> Tensor:
            return scores + 50.0 * (types == QUESTION).unsqueeze(-1)

    by_hand = []
    for row, kinds, span in zip(scores, types, spans, strict=True):
        inside = kinds != QUESTION
        start = int(inside.nonzero()[0])
        by_hand.append(nn.functional.cross_entropy(row[inside].T, span - start, label_smoothing=0.2).item())
    smooth = workload(label_smoothing=0.2)
    assert smooth.loss(Fixed(), (tokens, types, spans, words)).item() == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert workload().loss(Fixed(), (tokens, types, spans, words)).item() != pytest.approx(np.mean(by_hand), rel=1e-3)


# Model


@pytest.mark.parametrize("kind", [Reader, PublishedReader])
def test_padding_is_not_seen_and_types_are(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = kind(**TINY, **OFF).eval().double()
    tokens, types = torch.randint(5, 4000, (2, 9)), torch.randint(0, 3, (2, 9))
    scores = model(tokens, types)
    longer = model(nn.functional.pad(tokens, (0, 5)), nn.functional.pad(types, (0, 5)))
    assert torch.allclose(longer[:, :9], scores, atol=1e-10)
    assert not torch.allclose(model(tokens, (types + 1) % 3), scores, atol=1e-6)
    assert not torch.allclose(model(tokens.flip(1), types.flip(1)).flip(1), scores, atol=1e-6), "order is not seen"


@pytest.mark.parametrize("kind", [Reader, PublishedReader])
def test_both_models_are_trained_and_evaluated_alike(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = kind(**TINY, **OFF)
    workload().loss(model, batch()).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert workload().evaluate(model.eval(), batch())["exact_match"][1] == 6
    assert rates_of([model]) == []
    for option in ("dropout", "stochastic_depth"):
        dropping = kind(**TINY, **{**OFF, option: 0.5})
        tokens, types = batch()[:2]
        assert not torch.equal(dropping(tokens, types), dropping(tokens, types)), option
        for module, name, _rate in rates_of([dropping]):
            setattr(module, name, 0.0)
        assert torch.equal(dropping(tokens, types), dropping(tokens, types))


def test_operations_of_the_largest_size_are_counted_without_memory() -> None:
    flops, place = flops_per_sample(registry["qa"].function("large"))
    assert place == "meta"
    assert flops > 1e10
