"""A language model that is asked, attacked or hardened: weights, tokenizer and chat template together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from demur.errors import UsageError, require
from demur.llm._adapter import find_adapter, hash_tokenizer, hash_weights, put_adapter, save_adapter
from demur.llm._blocks import find_blocks
from demur.llm._chat import Chat, find_template, read_template
from demur.llm._config import GenerationConfig, TargetConfig
from demur.llm._conversation import ChatRow, Conversation, Reply, TokenIds
from demur.llm._generate import Ending, Progress, generate_ids
from demur.llm._hidden import Vectors, read_hidden
from demur.llm._load import load_causal, resolve_causal
from demur.llm._runtime import choose_device, choose_dtype, full_memory_as_error
from demur.paths import hash_value


def load_target(config: TargetConfig) -> Target:
    """Load a language model with its tokenizer and chat template, and an adapter on it.

    Parameters
    ----------
    config
        Which, and where it runs.

    Raises
    ------
    ConfigError
        There is no such model, it has no chat template, or the adapter belongs to another base.
    MissingDependencyError
        torch, transformers, peft, or the package of the embedded model is not installed.
    MissingModelError
        It is not in the cache, and no hub can be reached.
    NoMemoryError
        It does not fit the memory.
    """
    require("torch", extra="torch")
    device = choose_device(config.device)
    folder = resolve_causal(config.model)
    remedy = "take a smaller model, or set dtype: bf16"
    with full_memory_as_error("loading the model", remedy):
        module, tokenizer = load_causal(folder, choose_dtype(config.dtype, device))
        # Before anything is moved or put around it: what cannot be asked need not be loaded whole.
        find_template(tokenizer, config.chat_template)
        if config.adapter is not None:
            module = put_adapter(module, config.adapter, config.model, folder)
        module = module.to(device).eval()
    return Target(module, tokenizer, config, folder)


def hash_target(config: TargetConfig) -> str:
    """SHA-256 of what a configuration would load here, without loading it.

    Of the files: weights, tokenizer, adapter, chat template. Of the machine: the type of the weights, which
    ``dtype: auto`` leaves to it.

    Parameters
    ----------
    config
        The model.

    Raises
    ------
    ConfigError
        There is no such model, adapter or chat template, or no GPU where one is asked for.
    MissingDependencyError, MissingModelError
        As for :func:`load_target`.
    """
    require("torch", extra="torch")
    dtype = choose_dtype(config.dtype, choose_device(config.device))
    template = read_template(config.chat_template) if config.chat_template else None
    adapter = hash_weights(find_adapter(config.adapter)) if config.adapter else None
    folder = resolve_causal(config.model)
    model = [hash_weights(folder), hash_tokenizer(folder)]
    return hash_value([model, adapter, str(dtype), template, config.system])


class Target:
    """A language model ready to be asked.

    Parameters
    ----------
    module
        A causal language model of transformers, or a PeftModel around one.
    tokenizer
        Its tokenizer, of transformers.
    config
        Chat template and system message are taken from it; the rest is for the record.
    folder
        Where the weights came from, None for a model that was made in this process.

    Raises
    ------
    ConfigError
        There is no chat template.
    """

    def __init__(
        self, module: Any, tokenizer: Any, config: TargetConfig | None = None, folder: str | None = None
    ) -> None:
        self.module, self.tokenizer = module, tokenizer
        self.config, self.folder = config or TargetConfig(), folder
        self.template = find_template(tokenizer, self.config.chat_template)
        self.system = self.config.system
        self.chat = Chat(tokenizer, self.template, self.system, _known_stops(module))

    @property
    def name(self) -> str:
        """What tables and figures call it: the model's name, and the adapter's."""
        adapter = self.config.adapter
        model = self.config.model.rstrip("/").rpartition("/")[2]
        return f"{model}+{Path(adapter).name}" if adapter else model

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(find_blocks(self.module))

    @property
    def has_adapter(self) -> bool:
        """Whether an adapter is around the model."""
        return hasattr(self.module, "disable_adapter")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what was loaded: weights, adapter, their type, template, system message.

        Of a model made in this process, of its weights when first asked for; a later change does not show.
        """
        weights: Any = _hash_state(self.module)
        if self.folder:
            weights = [hash_weights(self.folder), hash_tokenizer(self.folder)]
        adapter = hash_weights(Path(self.config.adapter).expanduser()) if self.config.adapter else None
        return hash_value([weights, adapter, str(self.module.dtype), self.template, self.system])

    def with_module(self, module: Any) -> Target:
        """The same tokenizer, template and record around another module, such as one that was attacked."""
        return Target(module, self.tokenizer, self.config, self.folder)

    @contextmanager
    def without_adapter(self) -> Iterator[Target]:
        """The base alone, for a block.

        Raises
        ------
        UsageError
            There is no adapter to turn off.
        """
        if not self.has_adapter:
            raise UsageError(f"'{self.name}' has no adapter to turn off; load it with one, or give another target")
        with self.module.disable_adapter():
            yield self

    def save_adapter(self, folder: str | Path, weights: Mapping[str, Any] | None = None) -> None:
        """Save the adapter with the name and the hash of its base, which loading it checks.

        Parameters
        ----------
        folder
            Made where it is not there.
        weights
            The adapter's tensors by their names in the module; None where the module holds them whole.

        Raises
        ------
        UsageError
            There is no adapter.
        StorageError
            The disk is full or not writable.
        """
        if not self.has_adapter:
            raise UsageError(f"'{self.name}' has no adapter to save; train one, or save the model itself")
        base = hash_weights(self.folder) if self.folder else None
        save_adapter(self.module, Path(folder), self.config.model, base, weights)

    def render(self, conversation: Conversation, *, generation_prompt: bool = True) -> str:
        """The text a model reads; see :meth:`Chat.render`."""
        return self.chat.render(conversation, generation_prompt=generation_prompt)

    def encode(self, conversation: Conversation) -> ChatRow:
        """All tokens of a conversation, with the assistant's marked; for training and perplexity.

        Raises
        ------
        ConfigError
            The template refuses such a conversation, or does not tell where the assistant's turns are.
        """
        return self.chat.encode(conversation)

    def prompt_ids(self, conversation: Conversation) -> TokenIds:
        """Tokens ``(t,)`` up to where the model goes on, with the prefill."""
        return self.chat.prompt_ids(conversation)

    def generate(
        self,
        conversations: Sequence[Conversation],
        config: GenerationConfig | None = None,
        progress: Progress | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[Reply]:
        """Answers to conversations, in their order.

        Parameters
        ----------
        conversations
            Each ends with a user's turn.
        config
            Length, how tokens are chosen, batch size, seed.
        progress
            Called with the number of rows done and of all.
        numbers
            What a row's drawn tokens depend on beside the seed: by default its place. Give the places in the
            whole where only some rows are asked again.

        Raises
        ------
        LongRowError
            A prompt is too long for the model.
        NoMemoryError
            Not even one row fits the memory; larger batches are halved first.
        """
        prompts = [self.prompt_ids(one) for one in conversations]
        ending = Ending(self.chat.stop_ids, self.pad_id)
        found = generate_ids(self.module, prompts, config or GenerationConfig(), ending, numbers, progress)
        return [
            Reply(self.chat.decode(ids, one.prefill), tuple(ids), is_finished)
            for one, (ids, is_finished) in zip(conversations, found, strict=True)
        ]

    def hidden_states(
        self, rows: Sequence[TokenIds], layers: Sequence[int], at: Literal["last", "mean", "all"] = "last"
    ) -> Vectors | list[Vectors]:
        """Vectors of the residual stream; layer ``l`` is the output of block ``l - 1``, 0 the embedding.

        Parameters
        ----------
        rows
            Tokens ``(t,)`` of each.
        layers
            From 0 to :attr:`depth`. Unlike transformers' last hidden state, that of the last block is not yet
            normed.
        at
            ``last`` token or ``mean`` over the tokens: ``(n, layers, d)`` float32; ``all``: of each row
            ``(t, layers, d)``.

        Raises
        ------
        ConfigError
            A layer is beyond the depth.
        LongRowError
            A row is longer than the model reads.
        """
        return read_hidden(self.module, rows, layers, at)

    @property
    def pad_id(self) -> int:
        """The token rows are padded with; it is never read."""
        for found in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if found is not None:
                return int(found)
        return 0


def _known_stops(module: Any) -> tuple[int, ...]:
    found: set[int] = set()
    for config in (getattr(module, "generation_config", None), module.config):
        said = getattr(config, "eos_token_id", None)
        found |= {int(one) for one in (said if isinstance(said, list | tuple) else [said]) if one is not None}
    return tuple(sorted(found))


def _hash_state(module: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _bytes_of(tensor: Any) -> bytes:
    import torch

    flat = tensor.detach().cpu().contiguous().view(-1)
    found: np.ndarray[Any, Any] = flat.view(torch.uint8).numpy()
    return found.tobytes()
