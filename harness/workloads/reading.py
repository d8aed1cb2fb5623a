"""Questions and contexts (see cloze.py) as arrays: ids of words, types, the answer's place; split by article.

A word's id is that of the word in small letters among the 4000 most frequent of the training articles; all others are
one of three unknown ones (with a capital, a number, any other). The type of a context's word says whether the same word
stands in the question, also where both are unknown: the exact match of https://arxiv.org/abs/1704.00051 (DrQA).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from harness.workloads import cloze
from harness.workloads.cloze import CONTEXT_WORDS, QUESTION_WORDS, Cloze, Span
from harness.workloads.data import Arrays, arrays_and_scores, cached

Ids: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

HELD_OUT_SHARE = 0.12
HELD_OUT_SAMPLES = 512
LENGTH = QUESTION_WORDS + 1 + CONTEXT_WORDS
"""places of a sample: question, separator, context, padding"""
PADDING, SEPARATOR, BLANK, UNKNOWN_WORD, UNKNOWN_NAME, UNKNOWN_NUMBER = range(6)
VOCABULARY = 4000
QUESTION, CONTEXT, MATCH = 0, 1, 2
"""types: of the question (and padding), of the context, of the context with the same word in the question"""
NOT_COMPARED = frozenset({"a", "an", "the"})
"""words that, like punctuation, do not count when an answer is compared"""
AROUND = 6


@dataclass(frozen=True)
class Reading:
    """Samples: tokens, types and words, (n, 104), and spans, (n, 2).

    words: what is compared with an answer, 0 what is not; spans: first and last place of the answer; trivial: exact
    match of predictors that learned nothing; by_rule: of one that looks for the question's words around each candidate;
    data_hash: sha256 of all samples.
    """

    train: dict[str, Ids]
    held_out: dict[str, Ids]
    trivial: dict[str, float]
    by_rule: float
    data_hash: str


def reading() -> Reading:
    """The samples, from the cache where they are there: gensim is imported only when they are not."""
    code = hashlib.sha256(Path(cloze.__file__).read_bytes()).hexdigest()
    made = cached("reading", [importlib.metadata.version("gensim"), code], prepare)
    arrays, trivial, data_hash = arrays_and_scores(made)
    by_rule = trivial.pop("by_rule")
    parts = {
        part: {
            name.removeprefix(f"{part}_"): ids.astype(np.int64) for name, ids in arrays.items() if name.startswith(part)
        }
        for part in ("train", "held_out")
    }
    return Reading(**parts, trivial=trivial, by_rule=by_rule, data_hash=data_hash)


def prepare() -> Arrays:
    """Make the samples of all articles, split them, number their words; score what learned nothing."""
    train, held = split(cloze.articles())
    chosen = [held[number] for number in np.linspace(0, len(held) - 1, min(len(held), HELD_OUT_SAMPLES)).astype(int)]
    vocabulary, compared = frequent(train), numbered(train + chosen)
    parts = {"train": samples(train, vocabulary, compared), "held_out": samples(chosen, vocabulary, compared)}
    return {f"{part}_{name}": ids for part, found in parts.items() for name, ids in found.items()} | {
        "first_candidate": np.array(score(chosen, lambda _, __: 0, asked=True)),
        "first_unasked_candidate": np.array(score(chosen, lambda _, __: 0, asked=False)),
        "by_rule": np.array(score(chosen, overlap, asked=False)),
    }


def split(articles: Iterable[str]) -> tuple[list[Cloze], list[Cloze]]:
    """Training and held-out samples: an article is held out where its text's sha256 is among the lowest 12 %.

    A sample that is in two articles is taken from the first.
    """
    order = sorted(articles, key=lambda article: hashlib.sha256(article.encode()).digest())
    count = round(len(order) * HELD_OUT_SHARE)
    held = dict.fromkeys(each for article in order[:count] for each in cloze.clozes(article))
    train = dict.fromkeys(each for article in order[count:] for each in cloze.clozes(article))
    return [each for each in train if each not in held], list(held)


def frequent(train: Sequence[Cloze]) -> dict[str, int]:
    """Word in small letters → id, for those that stand in most training contexts; ties in the order of the alphabet."""
    counts = Counter(word.lower() for context in {each.context for each in train} for word in context)
    order = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: number for number, word in enumerate(order[: VOCABULARY - UNKNOWN_NUMBER - 1], UNKNOWN_NUMBER + 1)}


def numbered(every: Iterable[Cloze]) -> dict[str, int]:
    """Every word in small letters → a number from 1 on; 0 for punctuation and articles, which no comparison counts."""
    words = sorted({word.lower() for each in every for word in each.context})
    counted = [word for word in words if word[0].isalnum() and word not in NOT_COMPARED]
    return dict.fromkeys(words, 0) | {word: number for number, word in enumerate(counted, 1)}


def samples(clozes: Sequence[Cloze], vocabulary: Mapping[str, int], compared: Mapping[str, int]) -> Arrays:
    """Arrays of these samples (see Reading)."""
    tokens, types, words = (np.zeros((len(clozes), LENGTH), dtype=np.int32) for _ in range(3))
    spans = np.zeros((len(clozes), 2), dtype=np.int32)
    for row, each in enumerate(clozes):
        start = len(each.question) + 1
        end = start + len(each.context)
        asked = {word.lower() for word in each.question}
        tokens[row, :start] = [*(token_of(word, vocabulary) for word in each.question), SEPARATOR]
        tokens[row, start:end] = [token_of(word, vocabulary) for word in each.context]
        types[row, start:end] = [MATCH if word.lower() in asked else CONTEXT for word in each.context]
        words[row, start:end] = [compared[word.lower()] for word in each.context]
        spans[row] = [start + place for place in each.answer]
    return {"tokens": tokens, "types": types, "words": words, "spans": spans}


def token_of(word: str, vocabulary: Mapping[str, int]) -> int:
    """The id of a word of question or context."""
    if word == cloze.BLANK:
        return BLANK
    unknown = UNKNOWN_NUMBER if word[0].isdigit() else UNKNOWN_NAME if word[0].isupper() else UNKNOWN_WORD
    return vocabulary.get(word.lower(), unknown)


def score(clozes: Sequence[Cloze], worth: Callable[[Cloze, Span], int], asked: bool) -> float:
    """Exact match of the candidate that is worth most, the first of equals.

    asked: candidates with a word of the question are among them; no candidate: no match.
    """
    right = 0
    for each in clozes:
        told = frozenset() if asked else words_of(each.question)
        left = [span for span in each.candidates if told.isdisjoint(words_of(within(each, span)))]
        best = max(left, key=lambda span: worth(each, span), default=None)
        right += best is not None and lowered(within(each, best)) == lowered(within(each, each.answer))
    return right / len(clozes)


def overlap(each: Cloze, span: Span) -> int:
    """How many of the six words before and after a span stand in the question."""
    told = words_of(each.question)
    around = (*each.context[max(0, span[0] - AROUND) : span[0]], *each.context[span[1] + 1 : span[1] + 1 + AROUND])
    return sum(word.lower() in told for word in around)


def within(each: Cloze, span: Span) -> Sequence[str]:
    """The words of a span of the context."""
    return each.context[span[0] : span[1] + 1]


def lowered(words: Iterable[str]) -> list[str]:
    """The words in small letters."""
    return [word.lower() for word in words]


def words_of(words: Iterable[str]) -> frozenset[str]:
    """The different words, in small letters."""
    return frozenset(lowered(words))
