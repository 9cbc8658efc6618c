"""Reading what is in a model's folder with transformers: its tokenizer, and its weights, none of them missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demur.errors import ConfigError, require
from demur.training import quiet_transformers

VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
)


def load_tokenizer(folder: str | Path) -> Any:
    """Load the ``tokenizers``-backed tokenizer of a model folder.

    Raises
    ------
    ConfigError
        There is none, or only one written in Python.
    """
    require("transformers", extra="torch")
    from transformers import AutoTokenizer

    # Without one, transformers would make an empty tokenizer and say nothing.
    if not any((Path(folder) / name).is_file() for name in VOCABULARIES):
        raise ConfigError(
            f"the folder {folder} holds no vocabulary (none of {', '.join(VOCABULARIES)}); "
            "give a model with a tokenizer.json",
            key="model",
        )
    try:
        with quiet_transformers(), _hub_offline():
            # Left open, transformers would ask on a terminal, or a pipe, whether to run code the folder brings.
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"the tokenizer in {folder} cannot be read ({reason}); give a model with a tokenizer.json", key="model"
        ) from error
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        # Language models have none. Which one stands in does not matter: the attention mask hides it.
        tokenizer.pad_token = tokenizer.eos_token
    if not getattr(tokenizer, "is_fast", False) or tokenizer.pad_token_id is None:
        raise ConfigError(
            f"the tokenizer in {folder} has no tokenizer.json or no padding token; give a model that has both",
            key="model",
        )
    return tokenizer


def load_module(auto: Any, folder: str | Path, saved: bool = False, **settings: Any) -> Any:
    """Load weights through one of transformers' auto classes, as float32, from safetensors alone.

    Code that a folder brings along is never run, nor any that its configuration names: attention is computed as
    transformers does by default, where a ``config.json`` may ask for a kernel on the hub.

    Parameters
    ----------
    auto
        The class, such as ``AutoModel``.
    folder
        Where the weights are.
    saved
        The folder is one that demur wrote, so that no weight may be missing; else a head and a pooler may, and
        start from random ones.
    settings
        Changes to the configuration in the folder.

    Raises
    ------
    ConfigError
        The folder holds no weights of that kind, or not all of them, or an adapter beside them.
    """
    import torch
    from transformers import AutoConfig

    place: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    _refuse_adapter(Path(folder))
    try:
        with quiet_transformers(), _hub_offline():
            config = AutoConfig.from_pretrained(str(folder), **place, **settings)
            # None is for sdpa, or eager where a model has no other. An argument would leave what the file names.
            config._attn_implementation = config._experts_implementation = None
            if saved and getattr(config, "quantization_config", None) is not None:
                raise ValueError("its config.json asks for quantisation, which demur never saves")
            module, found = auto.from_pretrained(
                str(folder),
                config=config,
                use_safetensors=True,
                dtype=torch.float32,
                # What does not fit is told of as a fault of the folder below, or is the head of another task.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **place,
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"the model in {folder} cannot be loaded ({reason}); give an encoder with a model.safetensors",
            key="model",
        ) from error
    _check_weights(module, found, Path(folder), saved)
    return module


@contextmanager
def _hub_offline() -> Iterator[None]:
    """Keep whatever reads a local folder from asking the hub, for a block."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _refuse_adapter(folder: Path) -> None:
    """PEFT, where installed, would follow an adapter's file to another model, and change the weights."""
    if (folder / "adapter_config.json").exists():
        raise ConfigError(
            f"the folder {folder} holds an adapter (adapter_config.json); merge it into the model and save that, "
            "or take the file out",
            key="model",
        )


def _check_weights(module: Any, found: dict[str, Any], folder: Path, saved: bool) -> None:
    """Refuse a module of which parts were left random, since transformers only warns of that."""
    sizes = {name: (tuple(here), tuple(wanted)) for name, here, wanted in found["mismatched_keys"]}
    lacking = sorted(name for name in found["missing_keys"] if saved or not _may_be_new(module, name))
    unfit = sorted(name for name in sizes if saved or not _may_be_new(module, name))
    if not lacking and not unfit:
        return
    if unfit:
        here, wanted = sizes[unfit[0]]
        fault = f"has weights of another size ({unfit[0]}: {here}, where its config.json wants {wanted})"
    else:
        others = f"; it has others, such as {min(found['unexpected_keys'])}" if found["unexpected_keys"] else ""
        fault = (
            f"lacks {len(lacking)} of the {len(module.state_dict())} weights of a {type(module).__name__} "
            f"({lacking[0]}{others})"
        )
    remedy = "restore it or train again" if saved else "give a folder as save_pretrained of transformers writes it"
    raise ConfigError(f"the model in {folder} {fault}; {remedy}", key="model")


def _may_be_new(module: Any, name: str) -> bool:
    """Whether a weight is of a head, or of a pooler, which published encoders often leave out."""
    prefix = module.base_model_prefix
    has_head = bool(prefix) and hasattr(module, prefix)
    return "pooler" in name.split(".") or (has_head and not name.startswith(f"{prefix}."))


def input_names(module: Any, tokenizer: Any) -> tuple[str, ...]:
    """Which of ``input_ids``, ``attention_mask``, ``token_type_ids`` a transformers module takes."""
    import inspect

    accepted = inspect.signature(module.forward).parameters
    names = ["input_ids", "attention_mask"]
    if "token_type_ids" in accepted and "token_type_ids" in tokenizer.model_input_names:
        names.append("token_type_ids")
    return tuple(names)


def check_length(config: Any, pad_id: int, max_tokens: int) -> None:
    """Refuse rows longer than a model has positions for.

    Raises
    ------
    ConfigError
        ``max_tokens`` is above the model's limit, which the message gives.
    """
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit <= 0:
        return
    # RoBERTa and its kin count positions from the padding id on.
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet"):
        limit -= pad_id + 1
    if max_tokens > limit:
        raise ConfigError(
            f"max_tokens is {max_tokens}, but this model reads at most {limit} tokens; lower it", key="max_tokens"
        )
