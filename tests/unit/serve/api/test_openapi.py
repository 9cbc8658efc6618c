import pytest

from demur.serve.api._openapi import walk


@pytest.fixture
def page(make_guard):
    return make_guard(limits={"max_items": 7, "max_chars": 99}).ask("GET", "/openapi.json", key=None).json()


def test_bounds_are_those_of_the_configuration(page):
    items = page["components"]["schemas"]["ClassifyBody"]["properties"]["input"]["anyOf"]
    assert [one.get("maxItems") for one in items] == [None, 7]
    item = page["components"]["schemas"]["Item"]["properties"]
    assert (item["prompt"]["maxLength"], item["response"]["maxLength"]) == (99, 99)
    assert not any("x-demur-limit" in node for node in walk(page))


def test_every_operation_has_an_example_or_no_body_and_says_what_goes_wrong(page):
    for path, operations in page["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                (reference,) = [one["schema"]["$ref"] for one in operation["requestBody"]["content"].values()]
                schema = page["components"]["schemas"][reference.rpartition("/")[2]]
                has_example = any("examples" in node for node in walk(schema))
                assert has_example or path.startswith("/admin"), (path, method)
                assert "422" in operation["responses"]
            for status, response in operation["responses"].items():
                if status[0] in "45" and path != "/readyz":
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorBody"}, (path, method, status)


def test_every_operation_but_health_takes_a_key(page):
    open_ones = {
        path
        for path, operations in page["paths"].items()
        for operation in operations.values()
        if not operation.get("security")
    }
    assert open_ones == {"/healthz", "/readyz"}
    assert page["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}


def test_examples_of_the_page_are_answered(page, guard):
    for path in ("/v1/classify", "/v1/moderations", "/classify"):
        reference = page["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for example in page["components"]["schemas"][reference.rpartition("/")[2]]["examples"]:
            assert guard.ask("POST", path, json=example).status_code == 200


def test_the_page_is_sound():
    assert [node["a"] for node in walk({"a": [{"a": 1}, {"b": {"a": 2}}]}) if "a" in node] == [
        [{"a": 1}, {"b": {"a": 2}}],
        1,
        2,
    ]
