import sys
from dataclasses import replace

import pytest
from pypdf import PdfReader

from demur.errors import MissingDependencyError
from demur.report.card._pdf import draw_pdf


@pytest.fixture(scope="module")
def text(card, tmp_path_factory):
    path = tmp_path_factory.mktemp("pdf") / "card.pdf"
    draw_pdf(card, path)
    return " ".join(" ".join(page.extract_text() for page in PdfReader(path).pages).split())


def test_the_words_of_the_card_are_in_it(text, card):
    for words in (
        card.target,
        "still wins",
        "lora: wins",
        "ablation: wins in part",
        "0.93",
        "0.88 to 0.97",
        "n = 180",
        "Cohen's kappa 0.81",
        "not tamper-resistant",
        "page 1",
    ):
        assert words in text


def test_controls_are_not_said_to_win(text):
    assert "(control): wins" not in text


def test_worst_stands_before_better(text):
    assert text.index("lora: wins") < text.index("ablation: wins in part") < text.index("Controls")


def test_equal_cards_give_equal_bytes(card, tmp_path):
    for name in ("a", "b"):
        draw_pdf(card, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_signs_of_mark_up_are_shown_not_obeyed(card, tmp_path):
    draw_pdf(replace(card, target="<b>x & y</b>", headline=("a < b",)), tmp_path / "x.pdf")
    found = PdfReader(tmp_path / "x.pdf").pages[0].extract_text()
    assert "<b>x & y</b>" in found
    assert "a < b" in found


def test_an_empty_card_is_still_a_page(card, tmp_path):
    bare = replace(card, attacks=(), controls=(), benign=(), training=(), agreement=(), judges=(), method={})
    draw_pdf(bare, tmp_path / "x.pdf")
    found = " ".join(PdfReader(tmp_path / "x.pdf").pages[0].extract_text().split())
    assert "None was tried." in found
    assert "what was lost is not known" in found


def test_without_reportlab_the_extra_is_named(card, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "reportlab"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "reportlab", None)
    with pytest.raises(MissingDependencyError, match=r"demur\[report\]"):
        draw_pdf(card, tmp_path / "x.pdf")


def test_no_line_is_broken_within_a_number(card, tmp_path):
    named = [
        replace(one, place=f"{'word ' * count}4\u202f884\u202f480 parameters")
        for count, one in enumerate(card.attacks * 9)
    ]
    draw_pdf(replace(card, attacks=tuple(named)), tmp_path / "x.pdf")
    pages = [page.extract_text() for page in PdfReader(tmp_path / "x.pdf").pages]
    assert "".join(pages).count("4 884 480") == len(named)
