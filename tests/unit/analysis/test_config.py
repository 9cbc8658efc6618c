import pytest

from demur.analysis import AnalysisConfig


def test_alpha_is_what_the_level_leaves():
    assert AnalysisConfig(level=0.95).alpha == 0.05
    assert AnalysisConfig(level=0.9).alpha == pytest.approx(0.1)


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        AnalysisConfig(drawz=3)
