"""The sampler: numbers of some of the inputs, taken beside the answering of requests and never in its way.

Workers hand over what they answered; one thread does the rest. A text is held for about a second, in memory alone,
and only if it was drawn.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import uuid
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from demur.errors import BadRowError
from demur.serve.monitor._config import InputConfig
from demur.serve.monitor._sketch import DIMENSION, MAX_CHARS, SKETCH, pack_sketch, sketch_text
from demur.serve.pool._texts import tell_language
from demur.store import InputSampleRow, TrafficRow

if TYPE_CHECKING:
    from demur.store import Store

_LOG = logging.getLogger("demur.serve.monitor")
_TICK_S, _FLUSH_S = 1.0, 5.0
_TRAFFIC_ROWS = 5000


@dataclass(frozen=True, slots=True)
class Answered:
    """One item that was answered."""

    request_id: str
    item: int
    prompt: str | None
    response: str | None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class SamplerStats:
    """What a sampler did since it was made."""

    offered: int = 0
    sampled: int = 0
    stored: int = 0
    dropped: int = 0
    """Samples given up, since the database was down for too long or a text could not be sketched."""


class InputSampler:
    """Draws items evenly of those of each second, sketches them in its own thread, and stores the numbers.

    Its methods return at once and raise nothing; what fails is counted and logged.

    Parameters
    ----------
    store
        Where samples and counts of requests go.
    config
        Share, rate and bounds.
    """

    def __init__(self, store: Store, config: InputConfig | None = None) -> None:
        self._store, self.config = store, config or InputConfig()
        self.worker = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._draw = random.Random()
        self._drawn: list[Answered] = []
        self._seen = 0
        """Items of this second that might have been drawn."""
        self._requests = self._errors = 0
        self._since = datetime.now(UTC)
        self._waiting: deque[InputSampleRow] = deque(maxlen=self.config.max_waiting)
        self._traffic: deque[TrafficRow] = deque(maxlen=_TRAFFIC_ROWS)
        self._counts = dict.fromkeys(("offered", "sampled", "stored", "dropped"), 0)
        self._sketches = choose_sketches(self.config.encoder)
        self._is_closed = self._was_down = False
        self._thread = threading.Thread(target=self._run, name="input-sampler", daemon=True)
        self._thread.start()

    def offer(self, items: Sequence[Answered]) -> None:
        """Take note of answered items; at most ``max_per_s`` a second of them are kept."""
        if not self.config.enabled or self._is_closed:
            return
        with self._lock:
            self._counts["offered"] += len(items)
            for one in items:
                if not is_drawn(one.request_id, self.config.rate):
                    continue
                self._seen += 1
                # Reservoir sampling (Vitter 1985, algorithm R): each item of the second is as likely to stay.
                if len(self._drawn) < self.config.max_per_s:
                    self._drawn.append(one)
                elif (place := self._draw.randrange(self._seen)) < self.config.max_per_s:
                    self._drawn[place] = one

    def count(self, is_error: bool) -> None:
        """Count one request, and whether the server failed it (5xx or timed out)."""
        with self._lock:
            self._requests += 1
            self._errors += is_error

    def stats(self) -> SamplerStats:
        """Counts since the start."""
        with self._lock:
            return SamplerStats(**self._counts)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Sketch and store what is there, and end; whether it ended within the time."""
        self._is_closed = True
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        waited = 0.0
        if self.config.enabled:
            tell_language("what tells languages is loaded before the first request")
        while not self._is_closed:
            self._wake.wait(_TICK_S)
            waited += _TICK_S
            self._sketch_drawn()
            if waited >= _FLUSH_S:
                waited = 0.0
                self._flush()
        self._sketch_drawn()
        self._flush()

    def _sketch_drawn(self) -> None:
        with self._lock:
            drawn, self._drawn, self._seen = self._drawn, [], 0
        if not drawn:
            return
        try:
            rows = self._sketches.rows(drawn)
        except Exception as error:  # an encoder may fail in any way, and its message may quote a text
            _LOG.warning("%d inputs could not be sketched (%s)", len(drawn), type(error).__name__)
            self._add("dropped", len(drawn))
            return
        self._add("sampled", len(rows))
        self._add("dropped", max(0, len(self._waiting) + len(rows) - self.config.max_waiting))
        self._waiting.extend(rows)

    def _flush(self) -> None:
        self._close_count()
        samples, traffic = list(self._waiting), list(self._traffic)
        try:
            if samples:
                self._store.add_input_samples(samples)
                self._add("stored", len(samples))
                for _ in samples:
                    self._waiting.popleft()
            if traffic:
                self._store.add_traffic(traffic)
                self._traffic.clear()
            self._was_down = False
        except BadRowError:
            self._add("dropped", len(samples))
            self._waiting.clear()
        except Exception as error:  # the thread lives on, and errors of strangers may quote a row
            if not self._was_down:
                _LOG.warning("samples of inputs wait in memory (%s)", type(error).__name__)
            self._was_down = True

    def _close_count(self) -> None:
        now = datetime.now(UTC)
        with self._lock:
            requests, errors, self._requests, self._errors = self._requests, self._errors, 0, 0
        seconds = max(0.0, (now - self._since).total_seconds())
        self._since = now
        if requests:
            row = TrafficRow(worker=self.worker, seconds=seconds, requests=requests, errors=errors, at=now)
            self._traffic.append(row)

    def _add(self, name: str, count: int) -> None:
        with self._lock:
            self._counts[name] += count


def is_drawn(request_id: str, rate: float) -> bool:
    """Whether a request is of the share that may be sampled; the same on every worker."""
    return zlib.crc32(request_id.encode("utf-8", "replace")) < rate * 2**32


class WordSketches:
    """Rows of samples by :func:`sketch_text`."""

    name = SKETCH

    def rows(self, drawn: Sequence[Answered]) -> list[InputSampleRow]:
        """One row an item."""
        texts = [text[:MAX_CHARS] for one in drawn for text in (one.prompt, one.response) if text]
        distinct = dict.fromkeys(texts)
        packed = dict(zip(distinct, self.pack(list(distinct)), strict=True))
        return [
            InputSampleRow(
                request_id=one.request_id,
                item=one.item,
                sketch=self.name,
                prompt=packed.get((one.prompt or "")[:MAX_CHARS]),
                response=packed.get((one.response or "")[:MAX_CHARS]),
                language=tell_language(one.response or one.prompt or ""),
                at=one.at,
            )
            for one in drawn
        ]

    def pack(self, texts: list[str]) -> list[str]:
        """Packed sketches of texts."""
        return [pack_sketch(sketch_text(text)) for text in texts]


class EncoderSketches(WordSketches):
    """The same by a sentence encoder, whose vectors a fixed random projection brings to 64 numbers.

    Parameters
    ----------
    encoder
        See :class:`demur.models.Encoder`.
    """

    def __init__(self, encoder: str) -> None:
        self._encoder: Any = None
        self._given = encoder
        self.name = f"encoder-1:{encoder}"

    def pack(self, texts: list[str]) -> list[str]:
        """Packed sketches of texts; the encoder is loaded by the first, in the sampler's thread."""
        if not texts:
            return []
        if self._encoder is None:
            from demur.models import Encoder

            self._encoder = Encoder(self._given, device="cpu")
            self.name = f"encoder-1:{self._encoder.fingerprint[:16]}"
        vectors = np.asarray(self._encoder.embed(texts), dtype=np.float64)
        projected = vectors @ _projection(vectors.shape[1])
        lengths = np.linalg.norm(projected, axis=1, keepdims=True)
        return [pack_sketch(row) for row in projected / np.where(lengths > 0, lengths, 1)]


def _projection(width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A fixed random orthogonal map to 64 dimensions, or of fewer padded with zeros."""
    drawn = np.random.default_rng(20_240_601).normal(size=(width, min(width, DIMENSION)))
    basis = np.linalg.qr(drawn)[0]
    return np.pad(basis, ((0, 0), (0, DIMENSION - basis.shape[1])))


def choose_sketches(encoder: str | None) -> WordSketches:
    """Sketches by words and characters, or by an encoder."""
    return WordSketches() if encoder is None else EncoderSketches(encoder)
