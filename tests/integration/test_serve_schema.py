"""Requests made up from the guard's OpenAPI page, sent to the running server."""

import pytest
import schemathesis
from tests.integration.guards import RunningGuard
from tests.unit.serve.api.schema_requests import ask_every_operation


@pytest.mark.slow
def test_requests_made_up_from_the_page_are_answered_as_it_says(tmp_path):
    from demur.models.rules import RulesClassifier
    from demur.tasks import PROMPT_RISK, REFUSAL

    RulesClassifier(REFUSAL).save(tmp_path / "refusal")
    RulesClassifier(PROMPT_RISK).save(tmp_path / "risk")
    # So that a text that is too long is not also a body that is too large, which schemathesis expects of none.
    limits = {"timeout_s": 300, "max_chars": 1000, "max_items": 16}
    guard = RunningGuard(tmp_path, [tmp_path / "refusal", tmp_path / "risk"], limits=limits)
    try:
        schema = schemathesis.openapi.from_url(f"{guard.url}/openapi.json")
        assert ask_every_operation(schema, guard.key, examples=50) > 1000
        assert guard.process.poll() is None
    finally:
        guard.kill()
