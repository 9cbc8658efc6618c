"""Language models on this machine: finding them by name, and loading them from a hub, a folder or a GGUF file."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.llm._hub import fetch_model as fetch_model
    from demur.llm._hub import find_fetched as find_fetched
    from demur.llm._load import is_causal_name as is_causal_name
    from demur.llm._load import load_causal as load_causal
    from demur.llm._load import resolve_causal as resolve_causal

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "fetch_model": "_hub",
        "find_fetched": "_hub",
        "is_causal_name": "_load",
        "load_causal": "_load",
        "resolve_causal": "_load",
    },
)
