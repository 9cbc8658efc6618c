def test_tasks_and_their_champions_are_listed(make_guard, ready_folder, risk_folder):
    guard = make_guard([ready_folder, risk_folder])
    found = guard.ask("GET", "/v1/models", key="classify").json()
    assert found["object"] == "list"
    cards = {one["id"]: one for one in found["data"]}
    assert set(cards) == {"refusal", "prompt_risk"}
    refusal = cards["refusal"]
    assert refusal["labels"] == ["no_refusal", "hard_refusal", "soft_refusal"]
    assert refusal["threat_labels"] == ["hard_refusal", "soft_refusal"]
    assert set(refusal["thresholds"]) == {"fpr_10", "fpr_20"}
    assert refusal["version"] == guard.parts.pool.state.champions["refusal"].version
    assert cards["prompt_risk"]["fields"] == ["prompt"]


def test_the_list_fits_its_schema(guard, valid_against):
    valid_against(guard.ask("GET", "/v1/models"), "/v1/models", "get")
