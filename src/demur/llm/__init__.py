"""Language models on this machine: found by name, loaded, asked in batches, and looked into."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.llm._adapter import hash_weights as hash_weights
    from demur.llm._blocks import resolve_layers as resolve_layers
    from demur.llm._chat import Chat as Chat
    from demur.llm._config import GenerationConfig as GenerationConfig
    from demur.llm._config import TargetConfig as TargetConfig
    from demur.llm._conversation import ChatRow as ChatRow
    from demur.llm._conversation import Conversation as Conversation
    from demur.llm._conversation import Message as Message
    from demur.llm._conversation import Reply as Reply
    from demur.llm._hub import fetch_model as fetch_model
    from demur.llm._hub import find_fetched as find_fetched
    from demur.llm._load import is_causal_name as is_causal_name
    from demur.llm._load import load_causal as load_causal
    from demur.llm._load import resolve_causal as resolve_causal
    from demur.llm._target import Target as Target
    from demur.llm._target import load_target as load_target

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Chat": "_chat",
        "ChatRow": "_conversation",
        "Conversation": "_conversation",
        "GenerationConfig": "_config",
        "Message": "_conversation",
        "Reply": "_conversation",
        "Target": "_target",
        "TargetConfig": "_config",
        "fetch_model": "_hub",
        "find_fetched": "_hub",
        "hash_weights": "_adapter",
        "is_causal_name": "_load",
        "load_causal": "_load",
        "load_target": "_target",
        "resolve_causal": "_load",
        "resolve_layers": "_blocks",
    },
)
