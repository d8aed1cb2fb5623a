"""Questions with their answers in a text: sentences of Wikipedia with a name or number blanked out (cloze).

The text is that of the articles inside gensim's test data. A sample is three sentences that follow one another (the
context) and, as its question, the one of them that holds the answer: the answer is blanked out, and a third of the
other words are left out.

Sources: https://en.wikipedia.org (a dump of 2015, by way of https://radimrehurek.com/gensim),
cloze as reading comprehension: https://arxiv.org/abs/1506.03340
"""

from __future__ import annotations

import bz2
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DUMP = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
CONTEXT_WORDS, QUESTION_WORDS, ANSWER_WORDS = 80, 23, 4
"""words that contexts, questions and answers have at most; a longer question loses those farthest from its blank"""
SENTENCES, CANDIDATES = 3, 4
"""of a context: how many it has, and how many it must have at least, so that guessing finds few"""
SHORTEST_LINE = 80
"""characters of a line that is taken for a paragraph: shorter ones are headings, captions and what tables leave"""
BLANK = "____"
LEFT_OUT_ONE_IN = 3
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+(?:[.,]\d+)*|[^\w\s]")
SENTENCE_END = re.compile(r"(?<=[a-z0-9)\"”][.!?])\s+(?=[A-Z\"“])")

Sentence = tuple[str, ...]
Span = tuple[int, int]


@dataclass(frozen=True)
class Cloze:
    """A question about a context, both in words.

    answer: its first and last place in the context; candidates: those of all that could have been asked for there.
    """

    question: Sentence
    context: Sentence
    answer: Span
    candidates: tuple[Span, ...]


def articles() -> list[str]:
    """The plain text of each article that is there, in the order of the dump; redirections are none."""
    import gensim
    from gensim.corpora.wikicorpus import extract_pages, filter_wiki

    path = Path(gensim.__file__).parent / "test" / "test_data" / DUMP
    with bz2.open(path) as dump:
        pages = [text for _, text, _ in extract_pages(dump, ("0",))]
    return [filter_wiki(text) for text in pages if not text.lower().startswith("#redirect")]


def clozes(article: str) -> list[Cloze]:
    """All samples of an article: one for each sentence with a name or number, of each three in a row of a paragraph."""
    found: dict[Cloze, None] = {}
    for paragraph in paragraphs(article):
        for first in range(len(paragraph) - SENTENCES + 1):
            found |= dict.fromkeys(questions(paragraph[first : first + SENTENCES]))
    return list(found)


def paragraphs(article: str) -> Iterator[list[Sentence]]:
    """The sentences, in words, of each line that is a paragraph."""
    for line in article.replace("'''", "").replace("''", "").split("\n"):
        text = line.strip()
        if len(text) >= SHORTEST_LINE and text[0] not in "*#:;|=!{":
            yield [tuple(WORD.findall(sentence)) for sentence in SENTENCE_END.split(text)]


def questions(sentences: Sequence[Sentence]) -> Iterator[Cloze]:
    """The samples of these sentences, at most one each; none where they are too long or have too few names.

    What is asked for, and which words the question leaves out, is decided by the sha256 of the sentences.
    """
    context = tuple(word for sentence in sentences for word in sentence)
    starts = [sum(map(len, sentences[:number])) for number in range(len(sentences))]
    spans = [names(sentence) for sentence in sentences]
    candidates = tuple(
        (start + first, start + last) for start, found in zip(starts, spans, strict=True) for first, last in found
    )
    if len(context) > CONTEXT_WORDS or len(candidates) < CANDIDATES:
        return
    draw = Draws(" ".join(context))
    for sentence, start, found in zip(sentences, starts, spans, strict=True):
        if asked_for := [span for span in found if once(sentence, span)]:
            first, last = asked_for[draw.below(len(asked_for))]
            yield Cloze(blanked(sentence, (first, last), draw), context, (start + first, start + last), candidates)


def blanked(sentence: Sentence, span: Span, draw: Draws) -> Sentence:
    """The sentence with a blank for the span and without a third of its other words, cut to 23 around the blank."""
    left = [word for word in sentence[: span[0]] if draw.below(LEFT_OUT_ONE_IN)]
    right = [word for word in sentence[span[1] + 1 :] if draw.below(LEFT_OUT_ONE_IN)]
    while len(left) + 1 + len(right) > QUESTION_WORDS:
        if len(left) > len(right):
            del left[0]
        else:
            del right[-1]
    return (*left, BLANK, *right)


class Draws:
    """Whole numbers that depend on a text alone."""

    def __init__(self, text: str):
        self._digest = hashlib.sha256(text.encode())

    def below(self, limit: int) -> int:
        """The next number, from 0 to limit − 1."""
        self._digest.update(b"next")
        return int.from_bytes(self._digest.digest()[:8], "big") % limit


def names(words: Sequence[str]) -> list[Span]:
    """First and last places of what can be asked for: words with capitals one after another, and numbers.

    The first word has a capital in any case and is part of none; more than four words are none.
    """
    found: list[Span] = []
    first = None
    for place, word in enumerate((*words, ".")):
        capital = word[0].isupper() and place > 0
        if first is not None and not capital:
            if place - first <= ANSWER_WORDS:
                found.append((first, place - 1))
            first = None
        if capital and first is None:
            first = place
        if word[0].isdigit():
            found.append((place, place))
    return found


def once(sentence: Sequence[str], span: Span) -> bool:
    """Whether no word of the span stands elsewhere in the sentence: the question would tell a part of the answer."""
    inside = {word.lower() for word in sentence[span[0] : span[1] + 1]}
    return inside.isdisjoint(word.lower() for word in (*sentence[: span[0]], *sentence[span[1] + 1 :]))
