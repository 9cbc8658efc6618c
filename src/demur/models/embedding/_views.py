"""Views of records through an encoder; each text and sentence is embedded once however many folds read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from demur.data import Records
from demur.models._anchors import load_anchors
from demur.models._encoder import Encoder
from demur.models._lexical import split_sentences
from demur.models._memory import TextMemory, is_remembering
from demur.models.embedding._config import EmbeddingConfig, View
from demur.models.embedding._disk import VectorFile

Vectors = NDArray[np.float32]
Matrix = NDArray[np.float64]
_NEEDS: dict[View, tuple[str, ...]] = {
    "response": ("response",),
    "prompt": ("prompt",),
    "product": ("prompt", "response"),
    "head": ("response",),
    "head_product": ("prompt", "response"),
    "first_sentence": ("response",),
    "sentence_mean": ("response",),
}


class EmbeddingStore:
    """An encoder that remembers the vectors of the texts and sentences it has seen.

    Parameters
    ----------
    config
        Which encoder, how it pools, how much it reads, and where vectors are kept from run to run.
    """

    def __init__(self, config: EmbeddingConfig) -> None:
        self.encoder = _load_encoder(config.encoder, config.max_tokens)
        self._pooling = config.pooling
        # Special tokens take up to four places.
        self._sentence_tokens = min(config.sentence_tokens, config.max_tokens - 4)
        self._texts, self._sentences = TextMemory(60_000), TextMemory(150_000)
        self._disk: dict[int, VectorFile] = {}
        if config.cache is not None:
            lengths = (config.max_tokens, self._sentence_tokens)
            kinds = {count: f"{self._pooling} {count} of {config.max_tokens}" for count in lengths}
            fingerprint = self.encoder.fingerprint
            self._disk = {count: VectorFile(config.cache, fingerprint, kind) for count, kind in kinds.items()}

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.encoder.dimension * (2 if self._pooling == "mean_max" else 1)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors ``(n, d)`` of texts."""
        return self._texts.rows(texts, self._embed_texts)

    def sentences(self, sentences: Sequence[str]) -> Vectors:
        """Unit vectors ``(n, d)`` of sentences, each cut to fewer tokens than a text."""
        return self._sentences.rows(sentences, self._embed_sentences)

    @cached_property
    def anchors(self) -> Vectors:
        """Unit vectors of the prototype sentences, ``(a, d)``; they are part of every model, so always kept."""
        return self._embed_sentences(load_anchors())

    def _embed_texts(self, texts: Sequence[str]) -> Vectors:
        def embed(asked: Sequence[str]) -> Vectors:
            return self.encoder.embed(asked, pooling=self._pooling)

        return self._keep(texts, self.encoder.max_tokens, embed)

    def _embed_sentences(self, sentences: Sequence[str]) -> Vectors:
        def embed(asked: Sequence[str]) -> Vectors:
            return self.encoder.embed_head(asked, self._sentence_tokens, batch_size=64, pooling=self._pooling)

        return self._keep(sentences, self._sentence_tokens, embed)

    def _keep(self, texts: Sequence[str], tokens: int, embed: Callable[[Sequence[str]], Vectors]) -> Vectors:
        """From disk where vectors are kept there; a timing works them out again."""
        if tokens not in self._disk or not is_remembering():
            return embed(texts)
        return self._disk[tokens].rows(texts, embed)


_KEY = ("encoder", "pooling", "max_tokens", "sentence_tokens", "cache")
"""Settings that vectors depend on."""


_encoders: WeakValueDictionary[tuple[str, int], Encoder] = WeakValueDictionary()
"""Those of the stores that are kept: an encoder is in memory once, and no longer than a store needs it."""


def _load_encoder(name: str, max_tokens: int) -> Encoder:
    found = _encoders.get((name, max_tokens))
    if found is None:
        found = _encoders[name, max_tokens] = Encoder(name, max_tokens=max_tokens)
    return found


@lru_cache(maxsize=4)
def _store(*key: Any) -> EmbeddingStore:
    return EmbeddingStore(EmbeddingConfig(**dict(zip(_KEY, key, strict=True))))


def find_store(config: EmbeddingConfig) -> EmbeddingStore:
    """The process's store for what a configuration asks of an encoder."""
    return _store(*(getattr(config, name) for name in _KEY))


@dataclass
class RecordVectors:
    """The vectors of some records, each worked out when first asked for."""

    records: Records
    config: EmbeddingConfig

    @cached_property
    def store(self) -> EmbeddingStore:
        """Where vectors come from."""
        return find_store(self.config)

    @cached_property
    def prompt(self) -> Vectors:
        """Of the prompts, ``(n, d)``."""
        return self.store.texts(self.records.texts("prompt"))

    @cached_property
    def response(self) -> Vectors:
        """Of the responses, ``(n, d)``."""
        return self.store.texts(self.records.texts("response"))

    @cached_property
    def head(self) -> Vectors:
        """Of the responses' first words, ``(n, d)``."""
        count = self.config.head_words
        openings = [text.split(maxsplit=count)[:count] for text in self.records.texts("response")]
        return self.store.texts([" ".join(words) for words in openings])

    @cached_property
    def _sentences(self) -> tuple[Vectors, NDArray[np.int64]]:
        config = self.config
        listed = [
            (split_sentences(text[: config.max_chars]) or [""])[: config.most_sentences]
            for text in self.records.texts("response")
        ]
        starts = np.cumsum([0, *map(len, listed)], dtype=np.int64)[:-1]
        return self.store.sentences([sentence for row in listed for sentence in row]), starts

    @property
    def sentences(self) -> Vectors:
        """Of all sentences of the responses, one after the other, ``(m, d)``; an empty response has one."""
        return self._sentences[0]

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each response's sentences begin, ``(n,)``."""
        return self._sentences[1]

    def view(self, name: View) -> Matrix:
        """One view, ``(n, d)``; the mean of unit vectors is left as short as it is."""
        if name == "product":
            return self.view("response") * self.view("prompt")
        if name == "head_product":
            return self.view("head") * self.view("prompt")
        if name == "first_sentence":
            return self.sentences[self.starts].astype(np.float64)
        if name == "sentence_mean":
            sizes = np.diff(np.append(self.starts, len(self.sentences)))
            totals: Matrix = np.add.reduceat(self.sentences.astype(np.float64), self.starts, axis=0)
            return totals / sizes[:, None]
        found: Vectors = getattr(self, name)
        return found.astype(np.float64)


def usable_views(views: tuple[View, ...], fields: tuple[str, ...]) -> tuple[View, ...]:
    """The views that need no other text than a task reads; where none is left, the text it does read."""
    kept = tuple(view for view in views if set(_NEEDS[view]) <= set(fields))
    return kept or (("response",) if "response" in fields else ("prompt",))
