"""A two-layer Llama with random weights, and a vocabulary of the words in corpus.yaml: for the shortest example.

Names of substances are left out of the vocabulary. So the model sees that something is unknown to it, and a
refusal that it learns on some of them holds for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_TEMPLATE = (
    "{% for message in messages %}<|start|> {{ message['role'] }} {{ message['content'] }} <|end|> {% endfor %}"
    "{% if add_generation_prompt %}<|start|> assistant {% endif %}"
)
_ROLES = ("system", "user", "assistant")


def make_small_model(corpus: Path, folder: Path, seed: int) -> None:
    """Save the untaught model, of some 100,000 weights, with its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _make_tokenizer(yaml.safe_load(corpus.read_text(encoding="utf-8")))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _make_tokenizer(corpus: dict[str, Any]) -> Any:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = {word.lower() for side in corpus["substances"].values() for name in side for word in name.split()}
    words = {word for text in _texts(corpus) for word in text.split() if word.lower().strip(".,:?!'") not in names}
    known = ["<|unknown|>", *_ROLES, *sorted(words - set(_ROLES))]
    raw = Tokenizer(models.WordLevel({word: at for at, word in enumerate(known)}, unk_token="<|unknown|>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.add_special_tokens([AddedToken(name) for name in ("<|pad|>", "<|start|>", "<|end|>")])
    found = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|pad|>")
    found.chat_template = _TEMPLATE
    return found


def _texts(corpus: dict[str, Any]) -> Iterator[str]:
    """All texts, with numbers where the templates have them."""
    yield from (text for ways in corpus["asking"].values() for text in ways)
    yield from (*corpus["refusals"], *corpus["beginnings"])
    yield from (text for row in corpus["borderline"] for text in row.values())
    yield from (text for side in corpus["everyday"].values() for row in side for text in row.values())
    yield from (text.format(n=number) for text in corpus["steps"] for number in range(2, 10))
    yield from (f"{number}." for number in range(1, 6))
    yield from (f"{number}" for number in range(30))
