import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.stress import StressConfig, StressModel

LEAST = {"attacks": {"lora": {}}, "data": {"harmful": "a.jsonl"}}


def test_a_path_alone_is_a_source():
    data = parse_settings(StressConfig, LEAST).data
    assert [one.path for one in data.harmful] == ["a.jsonl"]
    assert (
        parse_settings(StressConfig, LEAST | {"data": {"harmful": ["a", {"path": "b"}]}}).data.harmful[1].path
        == "b"
    )


def test_two_judges_are_the_least():
    with pytest.raises(ConfigError, match=r"key 'judges'.*at least 2"):
        parse_settings(StressConfig, LEAST | {"judges": [{"kind": "keywords"}]})
    assert len(parse_settings(StressConfig, LEAST).judges) == 2


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"judges": [{"kind": "keywords"}] * 2}, "two of the judges are called 'keywords'"),
        ({"models": [{"model": "a/b"}, {"model": "c/b"}]}, "two of the models are called 'b'"),
        ({"seeds": [1, 1]}, "seeds repeat; name each once"),
        ({"attacks": {}}, "key 'attacks'"),
        ({"data": {"harmful": []}}, "key 'data.harmful'"),
        ({"modles": []}, "unknown key 'modles'; did you mean 'models'"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, wanted):
    with pytest.raises(ConfigError, match=wanted):
        parse_settings(StressConfig, LEAST | changes)


def test_a_defence_of_a_model_with_an_adapter_of_its_own_is_refused():
    models = [{"model": "a/b", "adapter": "one", "defended": "two"}]
    with pytest.raises(ConfigError, match=r"adapter and defended are both given.*its adapter merged"):
        parse_settings(StressConfig, LEAST | {"models": models})


def test_a_defence_is_an_adapter_on_the_same_model():
    model = StressModel(model="a/b", defended="folder", dtype="bf16")
    assert model.title == "b"
    assert model.target(False).adapter is None
    assert (model.target(True).adapter, model.target(True).dtype) == ("folder", "bf16")
