"""An encoder-decoder transformer with LayerNorm first, and the published one as the same kind of module.

Sources: https://arxiv.org/abs/1706.03762 (transformer, base and big), https://arxiv.org/abs/1804.00344 (Marian)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.workloads.models.transformer import (
    Attention,
    EncoderLayer,
    FeedForward,
    Join,
    branch_rates,
    draw_weights,
    drop_layers,
)


class DecoderLayer(nn.Module):
    """One repeated layer: attention to what is written so far, attention to the source, feed-forward."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float, drop_branch: float):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout, rotary=True)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads, dropout)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = FeedForward(width, inner)
        self.join = Join(dropout, drop_branch)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """(batch, target time, width) → the same; memory: the encoded source; mask: True where it is no padding."""
        written = self.attention_norm(x)
        x = self.join(x, self.attention(written, written, causal=True))
        x = self.join(x, self.cross_attention(self.cross_norm(x), memory, mask))
        out: Tensor = self.join(x, self.mlp(self.mlp_norm(x)))
        return out


class Translator(nn.Module):
    """(source (batch, time), target so far (batch, target time)) → logits of the next target token at each place.

    One embedding serves source, target and output (tied). Positions are learned. 0 is padding: source places with it
    are seen by nobody; target places with it come last, so that causal attention hides them.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        context: int,
        layers: int,
        width: int,
        heads: int,
        inner: int,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.source_position = nn.Embedding(context, width)
        self.target_position = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        rates = branch_rates(stochastic_depth, layers)
        self.encoder = nn.ModuleList(EncoderLayer(width, heads, inner, dropout, rate) for rate in rates)
        self.encoder_norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList(DecoderLayer(width, heads, inner, dropout, rate) for rate in rates)
        self.decoder_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.token.weight
        draw_weights(self, width, 3 * layers)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Encode the source, then read off what follows each place of the target."""
        mask = (source != 0)[:, None, None, :]
        memory = self._embedded(source, self.source_position)
        for layer in self.encoder:
            memory = layer(memory, mask)
        memory = self.encoder_norm(memory)
        x = self._embedded(target, self.target_position)
        for layer in self.decoder:
            x = layer(x, memory, mask)
        logits: Tensor = self.head(self.decoder_norm(x))
        return logits

    def _embedded(self, tokens: Tensor, position: nn.Embedding) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        embedded: Tensor = self.dropout(self.token(tokens) + position(places))
        return embedded


class PublishedTranslator(nn.Module):
    """Marian's model by transformers, with random weights, called as Translator is."""

    def __init__(
        self,
        *,
        vocabulary: int,
        context: int,
        layers: int,
        width: int,
        heads: int,
        inner: int,
        dropout: float,
        stochastic_depth: float,
    ) -> None:
        super().__init__()
        from transformers import MarianConfig, MarianMTModel

        config = MarianConfig(
            vocab_size=vocabulary,
            max_position_embeddings=context,
            d_model=width,
            encoder_layers=layers,
            decoder_layers=layers,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=inner,
            decoder_ffn_dim=inner,
            dropout=dropout,
            attention_dropout=dropout,
            activation_function="relu",
            scale_embedding=True,
            pad_token_id=0,
            bos_token_id=1,
            decoder_start_token_id=1,
            eos_token_id=2,
            forced_eos_token_id=None,
            use_cache=False,
        )
        self.marian = MarianMTModel(config)
        for half in (self.marian.model.encoder, self.marian.model.decoder):
            drop_layers(half.layers, stochastic_depth)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits of the next target token at each place."""
        # Masks of two dimensions are looked at by transformers: that is a wait for the device, and not done on meta.
        mask = (source != 0)[:, None, None, :]
        before = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool, device=target.device).tril()
        found = self.marian(
            input_ids=source,
            attention_mask=mask,
            decoder_input_ids=target,
            decoder_attention_mask=before[None, None],
            use_cache=False,
        )
        logits: Tensor = found.logits
        return logits
