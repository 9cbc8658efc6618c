import pytest

from demur.serve.pool import find_models

ITEM = {"prompt": "How do I keep bread fresh?", "response": "I'm sorry, but I can't help with that."}


def ask(guard, method, path, **rest):
    return guard.ask(method, f"/admin{path}", key="admin", **rest)


def acts(guard):
    return [one["act"] for one in ask(guard, "GET", "/audit").json()["acts"]]


# Models


def test_the_registry_is_listed(guard, valid_against):
    answer = ask(guard, "GET", "/models")
    valid_against(answer, "/admin/models", "get")
    assert {(one["task"], one["stage"], one["is_loaded"]) for one in answer.json()["models"]} == {
        ("refusal", "champion", True),
        ("prompt_risk", "champion", True),
    }
    assert len(ask(guard, "GET", "/models?task=refusal").json()["models"]) == 1


def test_a_model_is_registered_and_promoted_and_answers(guard, ready_folder):
    found = ask(guard, "POST", "/models", json={"folder": str(ready_folder)}).json()["models"]
    assert [(one["task"], one["stage"], one["is_loaded"]) for one in found] == [("refusal", "challenger", False)]
    path = f"/models/refusal/{found[0]['version']}/stage"
    promoted = ask(guard, "POST", path, json={"stage": "champion"})
    assert (promoted.json()["stage"], promoted.json()["is_loaded"]) == ("champion", True)
    told = guard.ask("POST", "/v1/classify", json={"input": ITEM}).json()["results"][0]["tasks"]["refusal"]
    assert told["model"] == "tfidf_logreg"
    stages = {one["name"]: one["stage"] for one in ask(guard, "GET", "/models?task=refusal").json()["models"]}
    assert stages == {"rules": "retired", "tfidf_logreg": "champion"}
    assert acts(guard)[:2] == ["model.champion", "model.register"]


def test_a_model_that_cannot_be_loaded_is_not_promoted(guard, ready_folder, tmp_path, error_of):
    import shutil

    shutil.copytree(ready_folder, tmp_path / "broken")
    (row,) = find_models([tmp_path / "broken"])
    ask(guard, "POST", "/models", json={"folder": str(tmp_path / "broken")})
    next((tmp_path / "broken").glob("*.skops")).write_bytes(b"")
    before = guard.parts.pool.state.champions["refusal"].version
    error = error_of(ask(guard, "POST", f"/models/refusal/{row.version}/stage", json={"stage": "champion"}), 409)
    assert "so the champion stays" in error["message"]
    assert guard.parts.pool.state.champions["refusal"].version == before
    assert guard.parts.store.champion("refusal").version == before


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/models", {"folder": "no/such/folder"}, 404),
        ("/models", {"folder": ""}, 422),
        ("/models", {"folder": "x", "stage": "champion"}, 422),
        (f"/models/refusal/{'f' * 64}/stage", {"stage": "champion"}, 404),
        (f"/models/refusal/{'f' * 64}/stage", {"stage": "king"}, 422),
        ("/models/refusal/short/stage", {"stage": "retired"}, 422),
    ],
)
def test_what_cannot_be_done_with_models_is_refused(guard, error_of, path, body, status):
    error_of(ask(guard, "POST", path, json=body), status)


@pytest.mark.parametrize(
    "folder",
    [
        "a" * 4000,
        "glimmerwax",
        "../glimmerwax",
        "glimmerwax\nline",
        "/proc/self/root/etc",
        "/dev/null",
        "{tmp}/loop",
    ],
)
def test_no_folder_makes_it_fail_and_none_is_repeated(guard, tmp_path, error_of, folder):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    answer = ask(guard, "POST", "/models", json={"folder": folder.replace("{tmp}", str(tmp_path))})
    error = error_of(answer, 404)
    assert error["param"] == "folder"
    assert not any(word in answer.text for word in ("glimmerwax", "a" * 40, "/proc", "/dev", str(tmp_path)))


def test_models_are_registered_only_from_where_they_may_be(make_guard, ready_folder, tmp_path, error_of):
    import shutil

    allowed = tmp_path / "allowed"
    shutil.copytree(ready_folder, allowed / "own")
    (allowed / "link").symlink_to(ready_folder)
    guard = make_guard(admin={"folders": [str(allowed)]})
    for folder in (ready_folder, allowed / "link", allowed / ".." / "secret", "/etc"):
        error = error_of(ask(guard, "POST", "/models", json={"folder": str(folder)}), 403)
        assert "admin.folders" in error["message"]
    assert ask(guard, "POST", "/models", json={"folder": str(allowed / "own")}).status_code == 200


def test_what_another_process_promoted_is_seen_by_reloading(guard, ready_folder):
    (other,) = find_models([ready_folder])
    guard.parts.store.register_model(other)
    found = ask(guard, "POST", "/reload").json()
    assert found["versions"]["refusal"] == other.version
    assert found["problems"] == {}


# Keys


def test_a_key_is_made_used_and_revoked(guard, error_of):
    made = ask(guard, "POST", "/keys", json={"name": "shop", "scopes": ["classify"], "rate_per_s": 100}).json()
    listed = ask(guard, "GET", "/keys").json()["keys"]
    assert made["id"] in {one["id"] for one in listed}
    assert made["key"] not in str(listed)
    guard.run(guard.parts.gate.refresh())
    assert guard.ask("GET", "/v1/models", key=made["key"]).status_code == 200
    assert ask(guard, "DELETE", f"/keys/{made['id']}").json()["revoked_at"] is not None
    error_of(guard.ask("GET", "/v1/models", key=made["key"]), 401)
    assert acts(guard)[:2] == ["key.revoke", "key.make"]


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["root"]},
        {"name": "", "scopes": ["admin"]},
        {"name": "a", "scopes": ["admin"], "rate_per_s": 0},
        {"name": "a", "scopes": ["admin"], "rate_per_s": True},
        {"name": "a", "scopes": ["admin"], "rate_per_s": "5"},
        {"name": "a\nb", "scopes": ["admin"]},
    ],
)
def test_a_key_that_makes_no_sense_is_refused(guard, error_of, body):
    error_of(ask(guard, "POST", "/keys", json=body), 422)


def test_a_key_that_is_not_there_cannot_be_revoked(guard, error_of):
    error_of(ask(guard, "DELETE", f"/keys/{'0' * 12}"), 404)
    assert "nobody" not in error_of(ask(guard, "DELETE", "/keys/nobody"), 422)["message"]


# The rest


def test_the_audit_log_is_narrowed(guard):
    ask(guard, "POST", "/keys", json={"name": "a", "scopes": ["classify"]})
    ask(guard, "POST", "/keys", json={"name": "b", "scopes": ["classify"]})
    found = ask(guard, "GET", "/audit?act=key.make&limit=1").json()["acts"]
    assert [one["facts"]["name"] for one in found] == ["b"]
    assert found[0]["actor"] == guard.keys["admin"].split("_")[1]
    assert ask(guard, "GET", "/audit?act=nothing").json()["acts"] == []


@pytest.mark.parametrize("is_drained", [True, False])
def test_a_request_is_deleted_wherever_it_is(make_guard, is_drained, error_of):
    guard = make_guard(text={"log": "full"})
    id = guard.ask("POST", "/v1/classify", json={"input": ITEM}).json()["id"]
    if is_drained:
        guard.rows()
    assert ask(guard, "DELETE", f"/requests/{id}").json() == {"rows": 2}
    assert guard.rows() == []
    error_of(ask(guard, "DELETE", f"/requests/{'0' * 44}"), 404)
    error_of(ask(guard, "DELETE", "/requests/unknown"), 422)


@pytest.mark.parametrize("key", ["classify", "feedback"])
def test_other_keys_do_not_administer(guard, error_of, key):
    error_of(guard.ask("GET", "/admin/models", key=key), 403)
