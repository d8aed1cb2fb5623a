"""Strings to learn to translate from English to French, as byte pairs (BPE) whose table is learned while preparing.

Source of the strings: see locale_pairs.py. Byte pairs: https://arxiv.org/abs/1508.07909, by the library `tokenizers`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from harness.workloads import locale_pairs
from harness.workloads.data import Arrays, cached, hash_arrays

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Ids: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

VOCABULARY = 1000
PADDING, BEGIN, END = 0, 1, 2
SPECIAL = ("<padding>", "<begin>", "<end>")
SOURCE_LENGTH, TARGET_LENGTH = 20, 24
"""tokens that a source and a target (its end counted) have at most; pairs that are longer (8 %) are left out"""
HELD_OUT_SHARE = 0.1
HELD_OUT_PAIRS = 320


@dataclass(frozen=True)
class Translated:
    """Pairs as tokens, int64, padded with 0 at the end.

    train_source, held_out_source: (pairs, 20); train_target, held_out_target: (pairs, 25), BEGIN first, END last;
    pieces: the bytes of each token; trivial: nats per token of predictors that learned nothing; copied: share of the
    held-out sources whose French string is the same; data_hash: sha256 of the four arrays.
    """

    train_source: Ids
    train_target: Ids
    held_out_source: Ids
    held_out_target: Ids
    pieces: tuple[bytes, ...]
    trivial: dict[str, float]
    copied: float
    data_hash: str

    def text(self, ids: Iterable[int]) -> str:
        """The string that tokens stand for, up to END; BEGIN and padding say nothing."""
        found = []
        for token in ids:
            if token == END:
                break
            found.append(self.pieces[token])
        return b"".join(found).decode(errors="replace")


def version() -> str:
    """Versions of the packages that the strings are in and that divide them."""
    return f"{importlib.metadata.version('babel')}, tokenizers {importlib.metadata.version('tokenizers')}"


def translated() -> Translated:
    """The pairs, from the cache where they are there: Babel and tokenizers are imported only when they are not."""
    code = hashlib.sha256(Path(locale_pairs.__file__).read_bytes()).hexdigest()
    arrays = cached("translated", [version(), code], prepare)
    lengths, joined = arrays.pop("piece_lengths"), arrays.pop("piece_bytes").tobytes()
    ends = np.cumsum(lengths)
    pieces = tuple(joined[end - length : end] for end, length in zip(ends, lengths, strict=True))
    trivial = {"unigram": float(arrays.pop("unigram"))}
    copied = float(arrays.pop("copied"))
    data_hash = hash_arrays(*arrays.values())
    whole = {name: ids.astype(np.int64) for name, ids in arrays.items()}
    return Translated(**whole, pieces=pieces, trivial=trivial, copied=copied, data_hash=data_hash)


def prepare() -> Arrays:
    """Make the pairs, split them, learn the byte pairs of the training ones, cut all into tokens."""
    kept, held = split(locale_pairs.pairs())
    tokenizer = byte_pairs([text for pair in kept for text in pair])
    train, held_out = encoded(tokenizer, kept), encoded(tokenizer, held)
    chosen = [held[number] for number in held_out[2][:HELD_OUT_PAIRS]]
    held_source, held_target = (ids[:HELD_OUT_PAIRS] for ids in held_out[:2])
    pieces = pieces_of(tokenizer)
    return {
        "train_source": train[0],
        "train_target": train[1],
        "held_out_source": held_source,
        "held_out_target": held_target,
        "piece_lengths": np.array([len(piece) for piece in pieces]),
        "piece_bytes": np.frombuffer(b"".join(pieces), dtype=np.uint8),
        "unigram": np.array(unigram(train[1], held_target)),
        "copied": np.array(np.mean([source == target for source, target in chosen])),
    }


def split(pairs: dict[str, str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Training and held-out pairs: held out is the tenth whose English strings have the lowest sha256."""
    order = sorted(pairs.items(), key=lambda pair: hashlib.sha256(pair[0].encode()).digest())
    count = round(len(order) * HELD_OUT_SHARE)
    return order[count:], order[:count]


def byte_pairs(texts: Sequence[str]) -> Tokenizer:
    """Learn 1000 tokens: three that mark, 256 bytes, and the pairs that are most frequent in both languages.

    Digits stay alone, so that numbers are copied digit by digit; words keep the blank before them.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def pieces_of(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes that each token stands for; of those that mark, none."""
    byte_of = {letter: byte for byte, letter in enumerate(letters_of_bytes())}
    by_id = sorted((number, token) for token, number in tokenizer.get_vocab().items())
    return [b"" if token in SPECIAL else bytes(byte_of[letter] for letter in token) for _, token in by_id]


def letters_of_bytes() -> list[str]:
    """The letter by which byte-level tokens write each byte: itself where it can be seen, else the next from U+0100 on.

    Source: https://github.com/openai/gpt-2/blob/master/src/encoder.py
    """
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    unseen = iter(range(0x100, 0x200))
    return [chr(byte) if byte in seen else chr(next(unseen)) for byte in range(0x100)]


def encoded(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> tuple[Ids, Ids, list[int]]:
    """Sources, targets with BEGIN and END, and the numbers of the pairs that are short enough to be among them."""
    sources = [encoding.ids for encoding in tokenizer.encode_batch([source for source, _ in pairs])]
    targets = [[BEGIN, *encoding.ids, END] for encoding in tokenizer.encode_batch([target for _, target in pairs])]
    fitting = [
        number
        for number, (source, target) in enumerate(zip(sources, targets, strict=True))
        if len(source) <= SOURCE_LENGTH and len(target) <= TARGET_LENGTH + 1
    ]
    return (
        padded([sources[number] for number in fitting], SOURCE_LENGTH),
        padded([targets[number] for number in fitting], TARGET_LENGTH + 1),
        fitting,
    )


def padded(rows: Sequence[Sequence[int]], length: int) -> Ids:
    """(rows, length), int16, PADDING after the end of each."""
    ids = np.full((len(rows), length), PADDING, dtype=np.int16)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    return ids


def unigram(train: Ids, held_out: Ids) -> float:
    """Nats per token of a predictor that knows how often each token is: −mean ln p(target), counts one higher."""
    counts = np.bincount(_predicted(train), minlength=VOCABULARY) + 1
    return float(-np.log(counts / counts.sum())[_predicted(held_out)].mean())


def _predicted(targets: Ids) -> Ids:
    after = targets[:, 1:]
    predicted: Ids = after[after != PADDING]
    return predicted
