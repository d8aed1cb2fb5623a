"""An encoder that marks where an answer begins and ends, and BERT as the same kind of module.

Source: https://arxiv.org/abs/1810.04805 (BERT)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.workloads.models.transformer import EncoderLayer, branch_rates, draw_weights, drop_layers


class Reader(nn.Module):
    """(tokens, types), each (batch, time) → scores (batch, time, 2) of each place as the answer's first and last.

    Token 0 is padding and seen by nobody. Positions and types are learned embeddings, added to the token's.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        types: int,
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
        self.kind = nn.Embedding(types, width)
        self.position = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        rates = branch_rates(stochastic_depth, layers)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, inner, dropout, rate) for rate in rates)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2)
        draw_weights(self, width, 2 * layers)

    def forward(self, tokens: Tensor, types: Tensor) -> Tensor:
        """Read question and context together, then score each place."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.dropout(self.token(tokens) + self.kind(types) + self.position(places))
        mask = (tokens != 0)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        scores: Tensor = self.head(self.norm(x))
        return scores


class PublishedReader(nn.Module):
    """BERT for question answering by transformers, with random weights, called as Reader is."""

    def __init__(
        self,
        *,
        vocabulary: int,
        types: int,
        context: int,
        layers: int,
        width: int,
        heads: int,
        inner: int,
        dropout: float,
        stochastic_depth: float,
    ) -> None:
        super().__init__()
        from transformers import BertConfig, BertForQuestionAnswering

        config = BertConfig(
            vocab_size=vocabulary,
            type_vocab_size=types,
            max_position_embeddings=context,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            pad_token_id=0,
        )
        self.bert = BertForQuestionAnswering(config)
        drop_layers(self.bert.bert.encoder.layer, stochastic_depth)

    def forward(self, tokens: Tensor, types: Tensor) -> Tensor:
        """Scores of each place as the answer's first and last."""
        # Masks of two dimensions are looked at by transformers: that is a wait for the device, and not done on meta.
        mask = (tokens != 0)[:, None, None, :]
        found = self.bert(input_ids=tokens, token_type_ids=types, attention_mask=mask)
        return torch.stack((found.start_logits, found.end_logits), dim=-1)
