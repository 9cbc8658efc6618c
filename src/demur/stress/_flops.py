"""What attacks cost in floating-point operations, reckoned from parameters and tokens.

References
----------
Kaplan et al., "Scaling Laws for Neural Language Models", 2020, section 2.1: 2 N operations a token forward, twice
that backward. A backward pass that needs no gradient of the frozen weights costs as much as a forward pass.
"""

from __future__ import annotations

from typing import Any, Literal

_FACTORS = {"forward": 2.0, "adapter": 4.0, "full": 6.0}
Pass = Literal["forward", "adapter", "full"]


def count_parameters(module: Any) -> int:
    """Parameters ``N`` of a model without its adapters; tied ones count once.

    Parameters
    ----------
    module
        A causal language model, or a PeftModel around one.
    """
    return sum(one.numel() for name, one in module.named_parameters() if ".lora_" not in name)


def reckon_flops(module: Any, tokens: float, kind: Pass = "forward") -> float:
    """Operations of so many tokens.

    Parameters
    ----------
    module
        As for :func:`count_parameters`.
    tokens
        Read by the model, repeats included.
    kind
        ``forward``: 2 N a token; ``adapter``: 4 N, with a backward pass through frozen weights; ``full``: 6 N.
    """
    return _FACTORS[kind] * count_parameters(module) * tokens
