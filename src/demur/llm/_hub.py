"""Fetching models from the Hugging Face hub: once, quickly refused where no hub can be reached, and made plain.

Some repositories hold weights as a pickle and a vocabulary that only ``sentencepiece`` reads. Those are
rewritten once, in the user's cache, as safetensors and ``tokenizer.json``; what is loaded later is only that.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from demur.errors import ConfigError, MissingDependencyError, MissingModelError, require, translate_os_error
from demur.paths import cache_folder, hash_value, replace_folder_when_done, write_json

_PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""Files fetched from a hub: weights in safetensors where there are any."""
_PICKLED = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
_REMEMBER_S = 300
"""For so long a hub that could not be reached is not asked again."""
_failed: dict[str, tuple[float, str]] = {}
"""Hub address to when and why it could not be reached."""


def fetch_model(name: str, tokenizer: str | None = None) -> str:
    """The local folder of a model of the hub; fetched once and found in the cache from then on.

    Parameters
    ----------
    name
        Such as ``FacebookAI/roberta-base``.
    tokenizer
        Name of the transformers tokenizer class, for the few repositories that do not say it themselves.

    Raises
    ------
    MissingModelError
        It is not in the cache, and no hub can be reached.
    ConfigError
        The hub has no such model, or does not give it without a login.
    MissingDependencyError
        Its vocabulary needs ``sentencepiece``.
    """
    require("huggingface_hub", extra="torch")
    try:
        folder = _look_in_cache(name) or _download(name)
    except OSError as error:
        raise translate_os_error(error, f"fetching the model '{name}'") from error
    return str(make_plain(folder, name, tokenizer))


def find_fetched(name: str, tokenizer: str | None = None) -> str:
    """The local folder of a model that was fetched before; no hub is asked.

    Parameters
    ----------
    name, tokenizer
        See :func:`fetch_model`.

    Raises
    ------
    MissingModelError
        It is not in the cache.
    """
    require("huggingface_hub", extra="torch")
    folder = _look_in_cache(name)
    if folder is None:
        raise MissingModelError(
            f"model '{name}' is not in the local cache, and no hub is asked here; fetch it first "
            f"(hf download {name}), or give a local folder",
            name,
        )
    return str(make_plain(folder, name, tokenizer))


def _look_in_cache(name: str) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        # Patterns of both kinds would call a snapshot incomplete that lacks the kind it does not need.
        folder = Path(snapshot_download(name, allow_patterns=_PATTERNS, local_files_only=True))
    except Exception:
        # Not there, or half: fetching says what is wrong.
        return None
    return folder if (folder / "config.json").is_file() and has_weights(folder) else None


def has_weights(folder: Path) -> bool:
    """Whether a folder holds all parts of a model's weights, in either format."""
    for index in (folder / "model.safetensors.index.json", folder / "pytorch_model.bin.index.json"):
        if index.is_file():
            parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            return all((folder / part).is_file() for part in parts)
    return any((folder / file).is_file() for file in ("model.safetensors", "pytorch_model.bin"))


def _download(name: str) -> Path:
    from huggingface_hub import constants, errors, snapshot_download

    remedy = "give a local folder, or use 'embedded:minilm', which needs no network"
    if constants.HF_HUB_OFFLINE:
        raise MissingModelError(
            f"model '{name}' is not in the local cache and HF_HUB_OFFLINE forbids to fetch it; "
            f"unset HF_HUB_OFFLINE, {remedy}",
            name,
        )
    unreachable = (
        f"model '{name}' is no local folder and could not be fetched from the hub ({{}}); "
        f"check the name and the network, {remedy}"
    )
    at, reason = _failed.get(constants.ENDPOINT, (-_REMEMBER_S, ""))
    if time.monotonic() - at < _REMEMBER_S:
        raise MissingModelError(unreachable.format(reason), name)
    try:
        folder = Path(snapshot_download(name, allow_patterns=_PATTERNS))
        if not has_weights(folder):
            folder = Path(snapshot_download(name, allow_patterns=_PATTERNS + _PICKLED))
    except Exception as error:
        # The hub client raises its own errors, httpx's and OSError.
        # The client's first sentence says what happened, the rest what it tried.
        told = " ".join(str(error).split()).split(" An error happened")[0][:120].removeprefix("Got: ")
        reason = told or type(error).__name__
        known = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError)
        if isinstance(error, known):
            raise ConfigError(
                f"the hub gives no model '{name}' ({reason}); check the name, log in where it is gated "
                f"(set HF_TOKEN), {remedy}",
                key="model",
            ) from error
        _failed[constants.ENDPOINT] = (time.monotonic(), reason)
        raise MissingModelError(unreachable.format(reason), name) from error
    if not has_weights(folder):
        raise ConfigError(f"'{name}' holds no PyTorch weights; give a model that has some", key="model")
    return folder


def make_plain(folder: Path, name: str, tokenizer: str | None = None) -> Path:
    """The folder itself where it has safetensors and ``tokenizer.json``, else a copy in the cache that has.

    Parameters
    ----------
    folder
        As downloaded.
    name
        What the copy is called after.
    tokenizer
        See :func:`fetch_model`.

    Raises
    ------
    ConfigError
        A file cannot be read.
    MissingDependencyError
        The vocabulary needs ``sentencepiece``.
    """
    pickled = not any(folder.glob("*.safetensors"))
    if not pickled and (folder / "tokenizer.json").is_file():
        return folder
    files = sorted((path.name, path.stat().st_size) for path in folder.iterdir() if path.is_file())
    key = hash_value([name, tokenizer, files])[:16]
    plain = cache_folder() / "hub" / f"{name.replace('/', '--')}-{key}"
    if (plain / "config.json").is_file():
        return plain
    with replace_folder_when_done(plain, f"writing {plain}", keep=True) as part:
        for path in folder.iterdir():
            if path.is_file() and path.suffix != ".bin" and not path.name.endswith(".bin.index.json"):
                shutil.copyfile(path, part / path.name)
        if pickled:
            _rewrite_weights(folder, part)
        if not (part / "tokenizer.json").is_file():
            _rewrite_tokenizer(part, tokenizer)
    return plain


def _rewrite_weights(source: Path, target: Path) -> None:
    """Read a pickle of tensors, and of nothing else, and write it as safetensors."""
    torch = require("torch", extra="torch")
    save_file = require("safetensors.torch", extra="torch").save_file

    tensors: dict[str, Any] = {}
    for path in sorted(source.glob("pytorch_model*.bin")):
        try:
            # weights_only reads tensors and refuses everything that could run.
            tensors |= torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ConfigError(
                f"the weights in {path.name} of {source} are no plain tensors ({type(error).__name__}); "
                "give a model with a model.safetensors",
                key="model",
            ) from error
    # Tensors that share memory would be refused; equal copies are tied again when the model is built.
    save_file(
        {name: tensor.clone().contiguous() for name, tensor in tensors.items() if torch.is_tensor(tensor)},
        target / "model.safetensors",
        metadata={"format": "pt"},
    )


def _rewrite_tokenizer(folder: Path, kind: str | None) -> None:
    """Add the ``tokenizer.json`` that a SentencePiece vocabulary stands for."""
    transformers = require("transformers", extra="torch")
    if any(folder.glob("*.model")):
        try:
            require("sentencepiece", extra="hub")
        except MissingDependencyError as error:
            raise MissingDependencyError(
                f"the vocabulary of this model is a SentencePiece file, which needs a library; {error}"
            ) from error
    config = folder / "tokenizer_config.json"
    if kind is not None:
        known = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        write_json(config, known | {"tokenizer_class": kind})
    try:
        tokenizer = (getattr(transformers, kind) if kind else transformers.AutoTokenizer).from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"the vocabulary of the model cannot be read ({reason}); give a model with a tokenizer.json",
            key="model",
        ) from error
    tokenizer.save_pretrained(str(folder))
