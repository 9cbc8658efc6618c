"""What one would write first: FastAPI and a transformers pipeline, one request at a time. See README.md.

    python benchmarks/serve/plain.py FOLDER PORT MAX_TOKENS [CORES]

With CORES as many requests are judged at once as there are cores, by a thread each: what one would write second.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline
from transformers.utils import logging

logging.set_verbosity_error()
FOLDER, PORT, MAX_TOKENS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
CORES = int(sys.argv[4]) if len(sys.argv) > 4 else None


@asynccontextmanager
async def prepare(app: FastAPI) -> AsyncIterator[None]:
    if CORES is not None:
        import torch
        from anyio.to_thread import current_default_thread_limiter

        torch.set_num_threads(1)
        current_default_thread_limiter().total_tokens = CORES
    yield


app = FastAPI(lifespan=prepare)
classifier: Any = pipeline("text-classification", model=FOLDER, tokenizer=FOLDER, device="cpu")


class Item(BaseModel):
    prompt: str
    response: str


class Body(BaseModel):
    input: Item


@app.get("/readyz")
def ready() -> dict[str, str]:
    return {"status": "ready"}


@app.post("/classify")
def classify(body: Body) -> Any:
    pair = {"text": body.input.prompt, "text_pair": body.input.response}
    return classifier(pair, truncation="only_second", max_length=MAX_TOKENS, top_k=None)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False)
