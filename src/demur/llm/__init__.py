"""Language models on this machine: found by name, loaded, asked in batches, and looked into."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.llm._ablate import WeightAblation as WeightAblation
    from demur.llm._ablate import ablate_activations as ablate_activations
    from demur.llm._ablate import ablate_weights as ablate_weights
    from demur.llm._ablate import refusal_direction as refusal_direction
    from demur.llm._ablate import refusal_directions as refusal_directions
    from demur.llm._adapter import hash_tokenizer as hash_tokenizer
    from demur.llm._adapter import hash_weights as hash_weights
    from demur.llm._blocks import find_blocks as find_blocks
    from demur.llm._blocks import resolve_layers as resolve_layers
    from demur.llm._chat import Chat as Chat
    from demur.llm._config import GenerationConfig as GenerationConfig
    from demur.llm._config import TargetConfig as TargetConfig
    from demur.llm._conversation import ChatRow as ChatRow
    from demur.llm._conversation import Conversation as Conversation
    from demur.llm._conversation import Message as Message
    from demur.llm._conversation import Reply as Reply
    from demur.llm._hidden import watch_layers as watch_layers
    from demur.llm._hub import fetch_model as fetch_model
    from demur.llm._hub import find_fetched as find_fetched
    from demur.llm._load import is_causal_name as is_causal_name
    from demur.llm._load import load_causal as load_causal
    from demur.llm._load import resolve_causal as resolve_causal
    from demur.llm._runtime import check_readable as check_readable
    from demur.llm._runtime import evaluating as evaluating
    from demur.llm._runtime import full_memory_as_error as full_memory_as_error
    from demur.llm._score import Perplexity as Perplexity
    from demur.llm._score import TokenKl as TokenKl
    from demur.llm._score import perplexity as perplexity
    from demur.llm._score import token_kl as token_kl
    from demur.llm._target import Target as Target
    from demur.llm._target import hash_target as hash_target
    from demur.llm._target import load_target as load_target
    from demur.llm._vllm import generate_with_vllm as generate_with_vllm

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Chat": "_chat",
        "ChatRow": "_conversation",
        "Conversation": "_conversation",
        "GenerationConfig": "_config",
        "Message": "_conversation",
        "Perplexity": "_score",
        "Reply": "_conversation",
        "Target": "_target",
        "TargetConfig": "_config",
        "TokenKl": "_score",
        "WeightAblation": "_ablate",
        "ablate_activations": "_ablate",
        "ablate_weights": "_ablate",
        "check_readable": "_runtime",
        "evaluating": "_runtime",
        "fetch_model": "_hub",
        "find_blocks": "_blocks",
        "find_fetched": "_hub",
        "full_memory_as_error": "_runtime",
        "generate_with_vllm": "_vllm",
        "hash_target": "_target",
        "hash_tokenizer": "_adapter",
        "hash_weights": "_adapter",
        "is_causal_name": "_load",
        "load_causal": "_load",
        "load_target": "_target",
        "perplexity": "_score",
        "refusal_direction": "_ablate",
        "refusal_directions": "_ablate",
        "resolve_causal": "_load",
        "resolve_layers": "_blocks",
        "token_kl": "_score",
        "watch_layers": "_hidden",
    },
)
