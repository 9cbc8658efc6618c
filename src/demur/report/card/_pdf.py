"""The card as a PDF of A4 pages, with ReportLab: the same words and figures as the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from demur.errors import require
from demur.metrics import Estimate
from demur.report import _words as words
from demur.report._views import has_interval
from demur.report.card._card import AttackLine, RobustnessCard
from demur.report.figures._style import GRID, INK, MUTED, RED

_FONT, _BOLD = "DejaVuSans", "DejaVuSans-Bold"
_MARGIN, _WIDTH = 42, 499
"""Points; A4 is 595 wide, and the frame adds 6 on each side."""


def draw_pdf(card: RobustnessCard, path: Path) -> None:
    """Draw a card; equal cards give equal bytes.

    Parameters
    ----------
    card
        What it says.
    path
        The file.

    Raises
    ------
    MissingDependencyError
        reportlab or matplotlib, whose font is used, is not installed; install ``demur[report]``.
    """
    platypus = require("reportlab.platypus", extra="report")
    _register_fonts()
    document = platypus.SimpleDocTemplate(
        str(path),
        pagesize=(595.28, 841.89),
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=44,
        bottomMargin=44,
        title=f"Robustness card: {card.target}",
        author="demur",
        subject="What a defence of a language model's refusals is worth",
        lang="en",
        invariant=1,
    )
    parts = _Parts()
    document.build(_story(card, parts), onFirstPage=_number, onLaterPages=_number)


def _register_fonts() -> None:
    """Matplotlib's own font, which has every sign that is used."""
    metrics = require("reportlab.pdfbase.pdfmetrics", extra="report")
    fonts = require("reportlab.pdfbase.ttfonts", extra="report")
    folder = Path(require("matplotlib", extra="report").get_data_path()) / "fonts" / "ttf"
    if _FONT not in metrics.getRegisteredFontNames():
        metrics.registerFont(fonts.TTFont(_FONT, folder / "DejaVuSans.ttf"))
        metrics.registerFont(fonts.TTFont(_BOLD, folder / "DejaVuSans-Bold.ttf"))
        metrics.registerFontFamily(_FONT, normal=_FONT, bold=_BOLD, italic=_FONT, boldItalic=_BOLD)


class _Parts:
    """Paragraphs and tables in one look."""

    def __init__(self) -> None:
        self._platypus = require("reportlab.platypus", extra="report")
        styles = require("reportlab.lib.styles", extra="report")
        colors = require("reportlab.lib.colors", extra="report")
        self.ink, self.muted, self.grid = (colors.HexColor(one) for one in (INK, MUTED, GRID))

        def style(name: str, size: float, **more: Any) -> Any:
            settings = {"fontName": _FONT, "fontSize": size, "leading": size * 1.4, "textColor": self.ink} | more
            return styles.ParagraphStyle(name, **settings)

        self._styles = {
            "title": style("title", 19, fontName=_BOLD, spaceAfter=4),
            "head": style("head", 11.5, fontName=_BOLD, spaceBefore=12, spaceAfter=5, keepWithNext=1),
            "text": style("text", 8.6, spaceAfter=4),
            "warn": style("warn", 9.4, fontName=_BOLD, spaceAfter=5, textColor=colors.HexColor(RED)),
            "note": style("note", 7.4, textColor=self.muted, spaceAfter=3),
            "cell": style("cell", 7.8, leading=10),
            "right": style("right", 7.8, leading=10, alignment=2),
            "top": style("top", 7.2, leading=9, textColor=self.muted),
            "topright": style("topright", 7.2, leading=9, textColor=self.muted, alignment=2),
        }

    def text(self, words_of: str, style: str = "text", is_safe: bool = False) -> Any:
        """A paragraph; ``is_safe`` where it holds tags of ours."""
        # Lines are broken at narrow spaces that should hold numbers together, and not at the wide ones.
        held = words_of.replace("\u202f", "\u00a0")
        return self._platypus.Paragraph(held if is_safe else escape(held), self._styles[style])

    def bullets(self, lines: Sequence[str]) -> list[Any]:
        """Lines with a dot before each."""
        return [self.text(f"•  {line}") for line in lines]

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[Any]], widths: Sequence[float]) -> Any:
        """A table whose first column is text, the others figures."""
        top = [self.text(head, "top" if place == 0 else "topright") for place, head in enumerate(heads)]
        made = self._platypus.Table(
            [top, *rows], colWidths=[width * _WIDTH for width in widths], repeatRows=1, hAlign="LEFT"
        )
        made.setStyle(
            self._platypus.TableStyle(
                [
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                    ("LINEBELOW", (0, 0), (-1, 0), 0.8, self.muted),
                    ("LINEBELOW", (0, 1), (-1, -1), 0.4, self.grid),
                    ("LEFTPADDING", (0, 0), (-1, -1), 0),
                    ("RIGHTPADDING", (0, 0), (-1, -1), 4),
                    ("TOPPADDING", (0, 0), (-1, -1), 3),
                    ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
                ]
            )
        )
        return made

    def figure(self, estimate: Estimate, is_signed: bool = False) -> Any:
        """A figure over its interval and its rows."""
        write = words.signed if is_signed else words.number
        said = f"<b>{write(estimate.value, 2)}</b>"
        if has_interval(estimate):
            said += f"<br/><font size='6.4' color='{MUTED}'>{words.interval(estimate, 2, is_signed)}</font>"
        if estimate.value is not None and estimate.n:
            said += f"<br/><font size='6.4' color='{MUTED}'>n = {words.count(estimate.n)}</font>"
        return self.text(said, "right", is_safe=True)

    def named(self, name: str, note: str) -> Any:
        """A name over a note."""
        said = f"<b>{escape(name)}</b>"
        if note:
            said += f"<br/><font size='6.6' color='{MUTED}'>{escape(note)}</font>"
        return self.text(said, "cell", is_safe=True)


def _story(card: RobustnessCard, parts: _Parts) -> list[Any]:
    seeds = f"{card.seeds} seed{'' if card.seeds == 1 else 's'}"
    found = [
        parts.text("demur · robustness card", "note"),
        parts.text(card.target, "title"),
        parts.text(f"Defence: {card.defence}. {seeds}, {card.level} intervals."),
        *(parts.text(line, "warn") for line in card.headline),
        parts.text("Attacks, worst case first", "head"),
        *_attacks(card.attacks, parts),
        parts.text("Controls", "head"),
        *_attacks(card.controls, parts, is_judged=False),
        parts.text("What the defence costs where nobody attacks", "head"),
        *_benign(card, parts),
    ]
    if card.training:
        found += [parts.text("What its own validation said", "head"), _pairs(card.training, parts)]
    found += [parts.text("Judges", "head"), *_judges(card, parts)]
    found += [parts.text("Threat model", "head")]
    found += parts.bullets([f"{holds}: {names}" for holds, names in card.threats])
    found += [parts.text("What this cannot claim", "head"), *parts.bullets(card.limits)]
    found += [parts.text("Do it again", "head")]
    found.append(parts.text(f"demur {card.method.get('version')}; the configuration stands in card.json."))
    found += [parts.text(f"{name}: {value}", "note") for name, value in card.method.get("hashes") or ()]
    return found


def _attacks(lines: Sequence[AttackLine], parts: _Parts, is_judged: bool = True) -> list[Any]:
    if not lines:
        return [parts.text("None was tried.")]
    heads = (
        *("Attack", "Complied, base, its worst", "Complied, hardened, its worst", "Complied, base, there"),
        *("Difference, there, paired", "Refused, hardened, there"),
    )
    rows = [
        [
            parts.named(f"{one.name}: {one.verdict}" if is_judged else one.name, one.note),
            parts.figure(one.base),
            parts.figure(one.hardened),
            parts.figure(one.base_there),
            parts.figure(one.difference, is_signed=True),
            parts.figure(one.refused),
        ]
        for one in lines
    ]
    return [parts.table(heads, rows, (0.35, 0.13, 0.13, 0.13, 0.13, 0.13))]


def _benign(card: RobustnessCard, parts: _Parts) -> list[Any]:
    if not card.benign:
        return [parts.text("Nothing was measured on safe prompts or ordinary text: what was lost is not known.")]
    rows = [
        [parts.named(one.name, one.note), parts.figure(one.base), parts.figure(one.hardened)]
        for one in card.benign
    ]
    return [parts.table(("Figure", "Base", "Hardened"), rows, (0.6, 0.2, 0.2))]


def _pairs(pairs: Sequence[tuple[str, str]], parts: _Parts) -> Any:
    rows = [[parts.text(name, "cell"), parts.text(value, "right")] for name, value in pairs]
    return parts.table(("Held-out rows", "Figure"), rows, (0.8, 0.2))


def _judges(card: RobustnessCard, parts: _Parts) -> list[Any]:
    names = words.join_words(list(card.judges)) or "nobody"
    found = [parts.text(f"Responses are judged by {names}; the first one's figures are shown.")]
    for one in card.agreement:
        pair = words.join_words([str(name) for name in one.get("judges") or ()])
        found.append(
            parts.text(
                f"{pair} gave equal verdicts on {words.number(one.get('raw'), 2)} of {words.count(one.get('n'))} "
                f"responses; Cohen's kappa {words.number(one.get('kappa'), 2)}."
            )
        )
    return found


def _number(canvas: Any, document: Any) -> None:
    canvas.saveState()
    canvas.setFont(_FONT, 7)
    canvas.setFillColorRGB(0.36, 0.4, 0.46)
    canvas.drawRightString(595.28 - _MARGIN - 6, 26, f"page {document.page}")
    canvas.drawString(_MARGIN + 6, 26, "Made by demur; holds no prompt and no response.")
    canvas.restoreState()
