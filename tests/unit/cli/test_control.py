"""The command is a process of its own (tests/unit/serve/control); here what it says of a wrong configuration."""


def test_a_configuration_that_is_not_there_is_named(demur):
    outcome = demur("control", "nowhere.yaml")
    assert outcome.code == 2
    assert "no configuration file nowhere.yaml" in outcome.err


def test_a_step_that_there_is_not_cannot_be_left_out(demur, tmp_path):
    (tmp_path / "serve.yaml").write_text("control: {skip: [drian]}")
    outcome = demur("control", "serve.yaml")
    assert outcome.code == 2
    assert "no step 'drian'; did you mean 'drain'?" in outcome.err


def test_help_says_who_acts(demur):
    words = " ".join(demur("control", "--help").out.split())
    assert "of all controllers of one database one acts" in words
