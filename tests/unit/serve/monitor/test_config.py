import pytest

from demur.config import parse_settings
from demur.errors import ConfigError
from demur.serve.monitor import AlertConfig, MonitorConfig


def test_defaults_are_valid_and_found_within_500_requests():
    config = MonitorConfig()
    assert config.window.rows + config.window.every <= 500
    assert [level.rows for level in config.escalation.levels] == [25, 75, 200]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"window": {"rows": 100, "every": 200}}, "make every at most rows"),
        ({"window": {"rows": 60, "every": 60, "min_rows": 80}}, "make it at most rows"),
        ({"escalation": {"judge": {"kind": "classifier"}}}, "needs model"),
        ({"escalation": {"judge": {"kind": "plugin"}}}, "needs name"),
        (
            {"escalation": {"levels": [{"rows": 50, "confidence": 0.9}, {"rows": 20, "confidence": 0.9}]}},
            "larger than the one before it",
        ),
        ({"wndow": {}}, "did you mean 'window'"),
    ],
)
def test_what_does_not_fit_together_is_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        parse_settings(MonitorConfig, values)


def test_the_secret_of_the_webhook_is_not_shown():
    config = parse_settings(AlertConfig, {"webhook": "https://hooks.example.org/s3cret", "secret": "k3y"})
    assert "k3y" not in repr(config)
    assert "s3cret" not in repr(config)
