import base64
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pytest
from PIL import Image

from demur.report._page import breakable, inline_picture, page_environment


@dataclass(frozen=True)
class Shown:
    path: Path
    title: str = "Title"
    caption: str = "What it shows."
    alt: str = "In words."


def test_a_name_may_be_broken_after_its_signs_and_is_escaped():
    assert str(breakable("a_b-<i>")) == "a_<wbr>b-<wbr>&lt;i&gt;"


def test_what_is_put_in_is_escaped():
    assert page_environment().from_string("{{ text }}").render(text="<b>") == "&lt;b&gt;"


def test_an_unknown_name_is_an_error_not_a_gap():
    with pytest.raises(jinja2.UndefinedError, match="'nothing' is undefined"):
        page_environment().from_string("{{ nothing }}").render()


def test_a_picture_is_inlined_whole_at_the_size_of_the_page(tmp_path):
    path = tmp_path / "one.png"
    Image.new("RGB", (1000, 400), "white").save(path)
    found = inline_picture(Shown(path))
    assert (found["width"], found["height"]) == (738, 295)
    head, _, data = found["source"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == path.read_bytes()
    assert (found["title"], found["caption"], found["alt"]) == ("Title", "What it shows.", "In words.")
