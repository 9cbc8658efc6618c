"""Answers of many adapters of one base through vLLM, which keeps the base in memory once; a GPU is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from demur.errors import ConfigError, require
from demur.llm._chat import Chat, find_template
from demur.llm._config import GenerationConfig, TargetConfig
from demur.llm._conversation import Conversation, Reply
from demur.llm._load import resolve_causal

_DTYPES = {"auto": "auto", "fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as ``max_lora_rank``; an adapter of a lower rank runs under the next higher one."""


def generate_with_vllm(
    config: TargetConfig,
    adapters: Mapping[str, str | None],
    conversations: Sequence[Conversation],
    generation: GenerationConfig | None = None,
) -> dict[str, list[Reply]]:
    """Answers of a base with each of several LoRA adapters, by the adapters' names.

    Greedy answers are those of :meth:`Target.generate` up to rounding; drawn ones are others, though the same for
    the same seed and row.

    Parameters
    ----------
    config
        The base; its ``adapter`` and ``device`` are not used.
    adapters
        Name to the folder of a LoRA adapter, or to None for the base alone.
    conversations
        Each ends with a user's turn.
    generation
        Length, how tokens are chosen, seed; vLLM makes its own batches.

    Raises
    ------
    ConfigError
        The model has no chat template, an adapter's folder cannot be read, or its rank is above what vLLM runs.
    MissingDependencyError
        vLLM is not installed.
    """
    vllm = require("vllm", extra="vllm")
    request = require("vllm.lora.request", extra="vllm").LoRARequest
    transformers = require("transformers", extra="torch")
    generation = generation or GenerationConfig()
    folder = resolve_causal(config.model)
    ranks = [_read_rank(path) for path in adapters.values() if path is not None]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    chat = Chat(tokenizer, find_template(tokenizer, config.chat_template), config.system)
    engine = vllm.LLM(
        model=folder,
        dtype=_DTYPES[config.dtype],
        seed=generation.seed,
        **({"enable_lora": True, "max_lora_rank": _round_up(max(ranks))} if ranks else {}),
    )
    prompts = [{"prompt_token_ids": chat.prompt_ids(one).tolist()} for one in conversations]
    sampling = [_sampling(vllm.SamplingParams, generation, chat, row) for row in range(len(prompts))]
    found = {}
    for number, (name, path) in enumerate(adapters.items(), start=1):
        lora = None if path is None else request(name, number, str(Path(path).expanduser()))
        outputs = engine.generate(prompts, sampling, lora_request=lora, use_tqdm=False)
        found[name] = [
            _reply(chat, one, output.outputs[0]) for one, output in zip(conversations, outputs, strict=True)
        ]
    return found


def _read_rank(path: str) -> int:
    file = Path(path).expanduser() / "adapter_config.json"
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{file} cannot be read as that of a LoRA adapter ({type(error).__name__}); give an adapter's folder",
            key="adapter",
        ) from error


def _round_up(rank: int) -> int:
    """The lowest rank that vLLM takes and that holds this one."""
    for known in _RANKS:
        if rank <= known:
            return known
    raise ConfigError(
        f"an adapter has rank {rank}, and vLLM runs none above {_RANKS[-1]}; ask it through Target.generate, or "
        "merge it",
        key="adapter",
    )


def _sampling(make: Any, generation: GenerationConfig, chat: Chat, row: int) -> Any:
    return make(
        max_tokens=generation.max_new_tokens,
        temperature=generation.temperature,
        top_p=generation.top_p,
        top_k=generation.top_k or -1,
        # A row's own, so that what else is asked has no say in it.
        seed=(generation.seed * 1_000_003 + row) % 2**31,
        stop_token_ids=list(chat.stop_ids),
    )


def _reply(chat: Chat, conversation: Conversation, output: Any) -> Reply:
    ids = [int(token) for token in output.token_ids]
    if ids and ids[-1] in chat.stop_ids:
        ids.pop()
    return Reply(chat.decode(ids, conversation.prefill), tuple(ids), output.finish_reason == "stop")
