"""A decoder-only transformer in the shape of GPT-2: LayerNorm first, GELU, biases, tied embeddings.

Positions are learned (as published) or rotary: with rotary ones small models learn from few steps.

Sources: https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf (GPT-2),
https://arxiv.org/abs/2104.09864 (rotary positions)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.workloads.models.in_turn import in_turn
from harness.workloads.models.stochastic_depth import StochasticDepth, rate_at


def rotate(x: Tensor) -> Tensor:
    """Turn each pair of channels of (batch, heads, time, channels) by an angle that grows with the position.

    Pair i at position t: angle t × 10000^(−2i ÷ channels). Computed anew in each call, in fp32: a buffer would have to
    be looked after by everything that shards, moves or materialises a model.
    """
    time, channels = x.shape[-2:]
    pairs = torch.arange(0, channels, 2, device=x.device, dtype=torch.float32)
    positions = torch.arange(time, device=x.device, dtype=torch.float32)
    angles = torch.outer(positions, 10000.0 ** (-pairs / channels))
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Attention(nn.Module):
    """Causal self-attention, (batch, time, width) → the same.

    q, k, v and o are linear layers of their own and the number of heads is read off the projection's width, so that
    each can be split by columns (q, k, v) or rows (o) over devices.
    """

    def __init__(self, width: int, heads: int, rotary: bool, dropout: float):
        super().__init__()
        self.head_width = width // heads
        self.rotary = rotary
        self.dropout = dropout
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.o = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend to the positions up to each one's own."""
        q, k, v = (self._by_head(project(x)) for project in (self.q, self.k, self.v))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        out: Tensor = self.o(mixed.transpose(1, 2).flatten(2))
        return out

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_width).transpose(1, 2)


class MLP(nn.Module):
    """Two linear layers, four times as wide in between, with GELU (tanh form, as published)."""

    def __init__(self, width: int):
        super().__init__()
        self.up = nn.Linear(width, 4 * width)
        self.activation = nn.GELU(approximate="tanh")
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to each position alone."""
        out: Tensor = self.down(self.activation(self.up(x)))
        return out


class Block(nn.Module):
    """One repeated layer: attention, then MLP, each on a normalised input and added to the residual stream.

    drop_rate: of stochastic depth, for each of the two branches by itself.
    """

    def __init__(self, width: int, heads: int, rotary: bool, dropout: float, drop_rate: float = 0.0):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, rotary, dropout)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLP(width)
        self.dropout = nn.Dropout(dropout)
        self.depth = StochasticDepth(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, width) → the same."""
        x = x + self.depth(self.dropout(self.attention(self.attention_norm(x))))
        mixed: Tensor = x + self.depth(self.dropout(self.mlp(self.mlp_norm(x))))
        return mixed


class Embedding(nn.Module):
    """Tokens (batch, time) → (batch, time, width): the first piece. context None: positions are not learned here."""

    def __init__(self, vocabulary: int, context: int | None, width: int, dropout: float):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = None if context is None else nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Look up tokens and, where they are learned, positions."""
        x: Tensor = self.token(tokens)
        if self.position is not None:
            x = x + self.position(torch.arange(tokens.shape[1], device=tokens.device))
        embedded: Tensor = self.dropout(x)
        return embedded


class Readout(nn.Module):
    """(batch, time, width) → logits (batch, time, vocabulary): the last piece."""

    def __init__(self, width: int, vocabulary: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise and compare with each token's vector."""
        logits: Tensor = self.head(self.norm(x))
        return logits


class GPT(nn.Module):
    """Tokens (batch, time) → logits of the next token (batch, time, vocabulary).

    The output matrix is the token embedding (tied): it is counted once, and both uses are outside the blocks. Weights
    are drawn from N(0, σ) with σ = 0.02 as published from a width of 768 on and
    0.02 × √(768 ÷ width) below it; the projections into the residual stream have σ ÷ √(2 × layers). Biases are 0.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        context: int,
        layers: int,
        width: int,
        heads: int,
        rotary: bool = False,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = Embedding(vocabulary, None if rotary else context, width, dropout)
        rates = [rate_at(number, layers, stochastic_depth) for number in range(layers)]
        self.blocks = nn.ModuleList(Block(width, heads, rotary, dropout, rate) for rate in rates)
        self.readout = Readout(width, vocabulary)
        self.readout.head.weight = self.embedding.token.weight
        deviation = 0.02 * max(1.0, math.sqrt(768 / width))
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                into_residual = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(parameter, std=deviation / math.sqrt(2 * layers) if into_residual else deviation)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def pieces(self) -> list[nn.Module]:
        """Modules that make the whole forward pass when called one after another."""
        return [self.embedding, *self.blocks, self.readout]

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token at each position."""
        return in_turn(self.pieces(), tokens)
