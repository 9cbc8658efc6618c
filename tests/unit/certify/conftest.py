"""The tiny taught model of the tests of stress, and its files of stand-ins."""

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parents[1] / "stress" / "conftest.py"
_spec = importlib.util.spec_from_file_location("tiny_stress", _PATH)
_tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_tiny)

cache, tokenizer, make_module = _tiny.cache, _tiny.tokenizer, _tiny.make_module
taught_base, grid_data = _tiny.taught_base, _tiny.grid_data
