"""What one would write first: FastAPI and a transformers pipeline, one request at a time. See README.md.

python benchmarks/serve/plain.py FOLDER PORT MAX_TOKENS
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline
from transformers.utils import logging

logging.set_verbosity_error()
FOLDER, PORT, MAX_TOKENS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
app = FastAPI()
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
