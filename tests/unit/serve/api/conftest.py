"""An application in this process, asked over ASGI without a socket; its models, store and spool are real."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

KEY_SCOPES = {
    "classify": ["classify"],
    "feedback": ["feedback"],
    "admin": ["admin"],
    "all": ["classify", "feedback", "admin"],
}


class Guard:
    """An application with its parts, and clients that ask it."""

    def __init__(self, parts, app, keys):
        self.parts, self.app, self.keys = parts, app, keys
        self.runner = asyncio.Runner()

    def ask(self, method, path, key="all", headers=None, **body):
        """One request; the answer is an ``httpx.Response``."""
        given = dict(headers or {})
        if key is not None:
            given["Authorization"] = f"Bearer {self.keys.get(key, key)}"
        return self.run(self._send(method, path, given, body))

    async def _send(self, method, path, headers, body):
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://guard", headers=headers) as client:
            return await client.request(method, path, **body)

    def post_bytes(self, path, content, content_type="application/json", **rest):
        """A body as it is."""
        return self.ask("POST", path, content=content, headers={"content-type": content_type}, **rest)

    def run(self, work):
        """Run a coroutine on the application's loop."""
        return self.runner.run(work)

    def rows(self):
        """The predictions recorded so far, drained into the store."""
        self.parts.spool.drain(self.parts.store)
        return self.parts.store.predictions()

    def feedback(self):
        self.parts.spool.drain(self.parts.store)
        return self.parts.store.feedback()

    def disk(self):
        """All bytes that the guard has on disk."""
        folder = Path(self.parts.spool.folder).parent
        return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def make_guard(tmp_path, rules_folder, risk_folder):
    """Maker of guards: ``make_guard([models], **configuration)``; by default refusal and prompt_risk by rules."""
    from demur.serve import load_serve
    from demur.serve._parts import make_parts
    from demur.serve._place import Place
    from demur.serve.api import make_app
    from demur.serve.pool import find_models, register_models
    from demur.store import new_key

    made = []

    def make(models=None, *, prepare=None, **configuration):
        folder = tmp_path / f"guard{len(made)}"
        folder.mkdir()
        values = {
            "models": [str(one) for one in (models or [rules_folder, risk_folder])],
            "database": {"url": f"sqlite:///{folder / 'guard.db'}"},
            "spool": {"folder": str(folder / "spool")},
            "threads": 1,
        }
        values["limits"] = {"timeout_s": 300} | configuration.pop("limits", {})  # a busy machine fails no test
        config = load_serve(None, values | configuration)
        parts = make_parts(Place("worker", 0, config, folder, signing=("a secret of the tests",)))
        parts.store.migrate()
        parts.refresh = lambda: parts.pool.update(parts.store.models(stage="champion"))
        register_models(parts.store, find_models(config.models))
        parts.refresh()
        keys = {}
        for name, scopes in KEY_SCOPES.items():
            keys[name], row = new_key(name, scopes)
            parts.store.add_key(row)
        if prepare is not None:
            prepare(parts)
        guard = Guard(parts, make_app(parts), keys)
        guard.run(_set_warm(parts))
        made.append(guard)
        return guard

    yield make
    for guard in made:
        guard.run(guard.parts.recorder.flush())
        guard.runner.close()
        assert guard.parts.pool.close()
        guard.parts.spool.close()
        guard.parts.store.close()
        guard.parts.buckets.close()


async def _set_warm(parts):
    parts.warm.set()


@pytest.fixture
def guard(make_guard):
    """A guard of the tasks refusal and prompt_risk."""
    return make_guard()


@pytest.fixture
def error_of():
    """What an answer says went wrong, once it is known to be in the shape of errors."""

    def read(answer, status):
        assert answer.status_code == status, answer.text
        (error,) = answer.json().values()
        assert set(error) == {"type", "message", "param", "request_id"}
        assert error["request_id"] == answer.headers["x-request-id"]
        assert "Traceback" not in answer.text
        return error

    return read


@pytest.fixture
def valid_against(guard):
    """Checks an answer against the schema that the OpenAPI page gives for it."""
    import jsonschema

    page = guard.ask("GET", "/openapi.json", key=None).json()

    def check(answer, path, method="post"):
        schema = page["paths"][path][method]["responses"][str(answer.status_code)]["content"]["application/json"]
        resolved = {"components": page["components"], **schema["schema"]}
        jsonschema.validate(json.loads(answer.content), resolved)

    return check
