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
    guard = RunningGuard(tmp_path, [tmp_path / "refusal", tmp_path / "risk"])
    try:
        schema = schemathesis.openapi.from_url(f"{guard.url}/openapi.json")
        assert ask_every_operation(schema, guard.key, examples=50) > 1000
        assert guard.process.poll() is None
    finally:
        guard.kill()
