"""The API as a whole: asked by requests made up from its own page."""

import schemathesis
from tests.unit.serve.api.schema_requests import ask_every_operation


def test_requests_made_up_from_the_page_are_answered_as_it_says(make_guard):
    guard = make_guard(limits={"max_chars": 1000, "max_items": 16})
    schema = schemathesis.openapi.from_asgi("/openapi.json", guard.app)
    assert ask_every_operation(schema, guard.keys["all"], examples=3) > 60
