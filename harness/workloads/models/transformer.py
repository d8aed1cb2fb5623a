"""Parts of transformers that read whole sequences: attention with a mask, feed-forward, residual branches, layers.

LayerNorm comes first in every branch (pre-LN). Sources: https://arxiv.org/abs/1706.03762 (transformer),
https://arxiv.org/abs/2002.04745 (LayerNorm first), https://arxiv.org/abs/1603.09382 (stochastic depth)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.workloads.models.gpt import rotate


class Attention(nn.Module):
    """Attention of (batch, time, width) to itself or to a memory (batch, other time, width) → (batch, time, width).

    q, k, v and o are linear layers of their own and the number of heads is read off the projection's width, so that
    each can be split by columns (q, k, v) or rows (o) over devices. k has no bias: one would add the same to all of a
    query's scores, which softmax takes out again.
    """

    def __init__(self, width: int, heads: int, dropout: float, rotary: bool = False):
        super().__init__()
        self.head_width = width // heads
        self.rotary = rotary
        self.dropout = dropout
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width)
        self.o = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """mask: True where a key may be seen, (batch, 1, 1, keys); causal: only keys up to each query's own place."""
        q, k, v = self._by_head(self.q(x)), self._by_head(self.k(memory)), self._by_head(self.v(memory))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, dropout_p=dropout)
        out: Tensor = self.o(mixed.transpose(1, 2).flatten(2))
        return out

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_width).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with GELU between them, `inner` wide there, for each position alone."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.up = nn.Linear(width, inner)
        self.activation = nn.GELU()
        self.down = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, width) → the same."""
        out: Tensor = self.down(self.activation(self.up(x)))
        return out


class Join(nn.Module):
    """Adds a branch to the residual stream: x + branch, with dropout, and with stochastic depth.

    drop_branch: share of the samples whose branch is left out in training; the others' is divided by what is kept.
    """

    def __init__(self, dropout: float, drop_branch: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.drop_branch = drop_branch

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """(batch, time, width) twice → the same."""
        branch = self.dropout(branch)
        if self.training and self.drop_branch > 0:
            branch = branch * kept(x, self.drop_branch)
        return x + branch


def kept(x: Tensor, drop_branch: float) -> Tensor:
    """A factor for each sample of (batch, time, width): 0 for a share of them, 1 ÷ (1 − share) for the others."""
    share = 1 - drop_branch
    return torch.empty(len(x), 1, 1, device=x.device, dtype=x.dtype).bernoulli_(share) / share


class EncoderLayer(nn.Module):
    """One repeated layer: attention to all places that are no padding, then feed-forward."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float, drop_branch: float):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout, rotary=True)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = FeedForward(width, inner)
        self.join = Join(dropout, drop_branch)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, time, width) → the same; mask as in Attention."""
        read = self.attention_norm(x)
        x = self.join(x, self.attention(read, read, mask))
        out: Tensor = self.join(x, self.mlp(self.mlp_norm(x)))
        return out


def branch_rates(largest: float, layers: int) -> list[float]:
    """Stochastic depth's rate of each layer: linear over depth, from largest ÷ layers to `largest`."""
    return [largest * (number + 1) / layers for number in range(layers)]


def drop_layers(layers: Iterable[nn.Module], largest: float) -> None:
    """Give layers that others wrote stochastic depth: for some samples a layer changes nothing; linear over depth.

    The rate of each is its attribute `drop_branch`.
    """
    every = list(layers)
    for layer, rate in zip(every, branch_rates(largest, len(every)), strict=True):
        if rate > 0:
            layer.drop_branch = rate  # type: ignore[assignment]
            layer.register_forward_hook(_some_changes)


def _some_changes(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    rate = float(layer.drop_branch)  # type: ignore[arg-type]
    if not layer.training or rate == 0:
        return output
    whole = isinstance(output, Tensor)
    changed = inputs[0] + ((output if whole else output[0]) - inputs[0]) * kept(inputs[0], rate)
    return changed if whole else (changed, *output[1:])


def draw_weights(model: nn.Module, width: int, branches: int) -> None:
    """Draw all weights anew: N(0, σ) with σ = 0.02 × √(768 ÷ width), at least 0.02; biases 0, norms left as they are.

    What is added to the residual stream (`o`, `down`) has σ ÷ √branches; branches: how many are added to one stream.
    """
    deviation = 0.02 * max(1.0, math.sqrt(768 / width))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            into_residual = name.endswith(("o.weight", "down.weight"))
            nn.init.normal_(parameter, std=deviation / math.sqrt(branches) if into_residual else deviation)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
