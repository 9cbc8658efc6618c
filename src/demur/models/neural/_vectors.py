"""Where subword vectors start when they are not random: the word vectors of a pre-trained encoder.

A subword gets the mean of the encoder's word vectors of its text. Over all subwords these are centred, turned
onto their principal axes, cut to the dimension wanted, and scaled to the size that random ones have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from demur.errors import require
from demur.models._encoder import resolve_model
from demur.models._pretrained import load_module, load_tokenizer

SPREAD = 0.1
"""Standard deviation of the numbers of a vector."""


def encoder_vectors(texts: Sequence[str], encoder: str, dimension: int, seed: int) -> NDArray[np.float32]:
    """One vector a text ``(n, dimension)`` from an encoder's word vectors.

    Parameters
    ----------
    texts
        What each subword stands for; an empty one has no meaning to take over and gets a random vector.
    encoder
        Embedded model, local folder, or hub name.
    dimension
        Numbers of a vector; those beyond the encoder's own are random.
    seed
        Of the random ones.

    Raises
    ------
    ConfigError
        There is no such encoder.
    """
    require("torch", extra="torch")
    require("transformers", extra="torch")
    from transformers import AutoModel

    folder = resolve_model(encoder)
    tokenizer = load_tokenizer(folder).backend_tokenizer
    words = load_module(AutoModel, folder).get_input_embeddings().weight.detach().numpy()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    listed = [text or "." for text in texts]
    ids = [row.ids for row in tokenizer.encode_batch_fast(listed, add_special_tokens=False)]
    known = np.array([bool(text) and bool(row) for text, row in zip(texts, ids, strict=True)])
    vectors = np.random.default_rng(seed).normal(0, SPREAD, (len(texts), dimension))
    if known.any():
        means = np.stack([words[row].mean(axis=0) for row, kept in zip(ids, known, strict=True) if kept])
        projected = project(means, dimension)
        vectors[known, : projected.shape[1]] = projected
    return vectors.astype(np.float32)


def project(vectors: NDArray[np.floating], dimension: int) -> NDArray[np.float64]:
    """Centre vectors ``(n, d)`` and keep their first principal axes, ``(n, min(dimension, d))``.

    The result has the standard deviation ``SPREAD`` over all its numbers. An axis points where its largest part
    is positive, so that equal vectors give equal results.
    """
    centred = np.asarray(vectors, dtype=np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)  # columns, the smallest first
    axes = axes[:, ::-1][:, :dimension]
    strongest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[strongest, np.arange(axes.shape[1])])
    turned = centred @ axes
    scaled: NDArray[np.float64] = turned * (SPREAD / max(float(turned.std()), 1e-12))
    return scaled
