"""The networks of the neural family: token ids in, logits out.

Imported only inside functions, since it needs torch.

What stands in a padded place never reaches a real one: embeddings and filters are zeroed there, an LSTM reads
from the left, its backward twin reads each row reversed within its own length, attention is masked, and pooling
counts real tokens alone. Without packed sequences, the same modules go through the ONNX export.

References
----------
Kim, "Convolutional neural networks for sentence classification", EMNLP 2014, section 2 (cnn).
Zhou et al., "A C-LSTM neural network for text classification", 2015, section 3 (hybrid).
Xiong et al., "On layer normalization in the transformer architecture", ICML 2020, section 3 (transformer).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from demur.models._encoder import mean_pool
from demur.models.neural._config import NeuralConfig

_NEVER = -1e4
"""Added to the logit of a class without a training row; its probability is then 0 in float64."""


class TextNetwork(nn.Module):
    """Embeddings, a body of the chosen architecture, pooling over the real tokens, and a linear layer.

    Parameters
    ----------
    config
        Architecture and sizes.
    vocabulary
        How many token ids there are.
    classes
        How many logits.
    """

    def __init__(self, config: NeuralConfig, vocabulary: int, classes: int) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.tokens = nn.Embedding(vocabulary, dim, padding_idx=0)
        self.segments = nn.Embedding(2, dim)
        nn.init.normal_(self.tokens.weight, std=0.1)
        nn.init.normal_(self.segments.weight, std=0.02)
        self.body = _make_body(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(self.body.width, classes)
        self.register_buffer("absent", torch.zeros(classes))

    absent: torch.Tensor

    def rule_out(self, classes: Sequence[int]) -> None:
        """Give these classes no probability outside of training."""
        self.absent[list(classes)] = _NEVER

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Logits ``(batch, k)`` of token ids ``(batch, seq)``."""
        embedded = self.dropout(self.tokens(input_ids) + self.segments(token_type_ids))
        pooled = self.body(embedded * attention_mask.unsqueeze(-1), attention_mask)  # (batch, width)
        logits = self.classifier(self.dropout(pooled))
        return {"logits": logits if self.training else logits + self.absent}


class Body(nn.Module):
    """What lies between the embeddings and the last layer; ``width`` is the length of what it gives a row."""

    width: int

    def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool ``(batch, seq, dim)``, 0 where ``mask`` ``(batch, seq)`` is, to ``(batch, width)``."""
        raise NotImplementedError


class ConvolutionBody(Body):
    """Filters of several widths, each at its strongest place in the row."""

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__()
        self.filters = Filters(config)
        self.width = self.filters.width

    def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Maximum over time; a filter's output is never below 0, so the zeros of padding win nothing."""
        outputs: torch.Tensor = self.filters(embedded, mask)
        return outputs.amax(dim=1)


class RecurrentBody(Body):
    """An LSTM, in one direction or both, and the mean and the maximum of its states."""

    def __init__(self, config: NeuralConfig, inputs: int, both: bool) -> None:
        super().__init__()
        directions = 2 if both else 1
        self.width = 2 * directions * config.hidden
        self.dropout = nn.Dropout(config.dropout / 2)
        sizes = [inputs] + [directions * config.hidden] * (config.layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(size, config.hidden, batch_first=True) for size in sizes)
        self.back = nn.ModuleList(nn.LSTM(size, config.hidden, batch_first=True) for size in sizes if both)

    def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Mean beside maximum of the states of the real tokens."""
        states = embedded  # (batch, seq, features)
        for number, ahead in enumerate(self.ahead):
            given = self.dropout(states) if number else states
            states = ahead(given)[0]
            if len(self.back):
                behind = self.back[number](reverse_rows(given, mask))[0]
                states = torch.cat([states, reverse_rows(behind, mask)], dim=2)
        hidden = states.masked_fill(~mask.bool().unsqueeze(-1), -1.0)  # no state of an lstm is below -1
        return torch.cat([mean_pool(states, mask), hidden.amax(dim=1)], dim=1)


class HybridBody(Body):
    """Filters of several widths, whose outputs an LSTM reads in order."""

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__()
        self.filters = Filters(config)
        self.recurrent = RecurrentBody(config, self.filters.width, both=False)
        self.width = self.recurrent.width

    def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool the LSTM's states over the filters' outputs."""
        pooled: torch.Tensor = self.recurrent(self.filters(embedded, mask), mask)
        return pooled


class AttentionBody(Body):
    """Transformer blocks over learned positions, normalised before each part, and the mean of the last states."""

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__()
        self.width = config.embedding_dim
        self.positions = nn.Embedding(config.max_tokens, self.width)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.blocks = nn.ModuleList(AttentionBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(self.width)

    def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Mean of the real tokens' states."""
        places = torch.arange(embedded.shape[1], device=embedded.device)
        states = embedded + self.positions(places)
        for block in self.blocks:
            states = block(states, mask)
        return mean_pool(self.norm(states), mask)


class AttentionBlock(nn.Module):
    """Self-attention among the real tokens and a feed-forward layer, each added to what came in."""

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.heads = config.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mix = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.inner, self.outer = nn.Linear(dim, config.hidden), nn.Linear(config.hidden, dim)
        self.dropout = nn.Dropout(config.dropout / 2)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States ``(batch, seq, dim)`` to states of the same shape."""
        batch, length, dim = states.shape
        split = self.mix(self.norm_1(states)).view(batch, length, 3, self.heads, dim // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)  # each (batch, heads, seq, dim / heads)
        # Spread over the queries, which ONNX Runtime's operator asks for.
        seen = mask.bool()[:, None, None, :].expand(batch, 1, length, length)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        states = states + self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, dim)))
        fed: torch.Tensor = self.dropout(self.outer(functional.gelu(self.inner(self.norm_2(states)))))
        return states + fed


class Filters(nn.Module):
    """Convolutions of several widths side by side: one output a token and filter, 0 where there is none."""

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__()
        self.sizes = config.widths
        self.width = config.filters * len(config.widths)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embedding_dim, config.filters, width) for width in config.widths
        )

    def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Outputs ``(batch, seq, width)``, at least 0."""
        turned = embedded.transpose(1, 2)  # (batch, dim, seq)
        parts = []
        for width, convolution in zip(self.sizes, self.convolutions, strict=True):
            # As many zeros as keep the length, so that a row shorter than a filter is read too.
            parts.append(convolution(functional.pad(turned, ((width - 1) // 2, width // 2))))
        return functional.relu(torch.cat(parts, dim=1)).transpose(1, 2) * mask.unsqueeze(-1)


def reverse_rows(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Turn each row of ``(batch, seq, d)`` round within its own length; what lies beyond stays."""
    places = torch.arange(mask.shape[1], device=mask.device)
    turned = torch.where(mask.bool(), mask.sum(dim=1, keepdim=True) - 1 - places, places)  # (batch, seq)
    return states.gather(1, turned.unsqueeze(-1).expand_as(states))


def _make_body(config: NeuralConfig) -> Body:
    if config.architecture == "cnn":
        return ConvolutionBody(config)
    if config.architecture == "hybrid":
        return HybridBody(config)
    if config.architecture == "transformer":
        return AttentionBody(config)
    return RecurrentBody(config, config.embedding_dim, both=config.architecture == "bilstm")
