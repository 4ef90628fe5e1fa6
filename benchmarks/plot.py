"""Bar charts as SVG, without a plotting library."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = ("#1f6feb", "#d97706", "#6b7280", "#059669", "#9333ea")
LABELS, BARS, VALUES = 330, 400, 170
LINE, GAP, TOP = 15, 12, 64
FONT = "font-family='system-ui,sans-serif' font-size='12'"


@dataclass(frozen=True)
class Group:
    """Bars that are compared with each other, one for each series; None leaves a bar out."""

    label: str
    values: Sequence[float | None]
    texts: Sequence[str]
    note: str = ""


def bars(title: str, subtitle: str, series: Sequence[str], groups: Sequence[Group]) -> str:
    """An SVG document with horizontal bars; the longest of each group fills the width."""
    height = TOP + len(groups) * (len(series) * LINE + GAP)
    width = LABELS + BARS + VALUES
    out = [
        (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
            f"width='{width}' height='{height}' role='img'>"
        ),
        f"<title>{escape(title)}</title>",
        f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
        f"<text x='12' y='22' {FONT} font-weight='bold' fill='#111827'>{escape(title)}</text>",
        f"<text x='12' y='42' {FONT} fill='#4b5563'>{escape(subtitle)}</text>",
    ]
    x = LABELS
    for number, name in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        out.append(f"<rect x='{x}' y='13' width='11' height='11' fill='{colour}'/>")
        out.append(f"<text x='{x + 16}' y='23' {FONT} fill='#111827'>{escape(name)}</text>")
        x += 130
    y = TOP
    for group in groups:
        longest = max((value for value in group.values if value), default=0.0)
        middle = y + len(series) * LINE / 2
        out.append(
            f"<text x='{LABELS - 10}' y='{middle - 1:.0f}' {FONT} text-anchor='end' "
            f"fill='#111827'>{escape(group.label)}</text>"
        )
        out.append(
            f"<text x='{LABELS - 10}' y='{middle + 13:.0f}' {FONT} text-anchor='end' "
            f"fill='#4b5563'>{escape(group.note)}</text>"
        )
        for number, value in enumerate(group.values):
            length = BARS * value / longest if value and longest else 0.0
            colour = COLOURS[number % len(COLOURS)]
            out.append(
                f"<rect x='{LABELS}' y='{y}' width='{length:.1f}' height='{LINE - 3}' "
                f"fill='{colour}'/>"
            )
            out.append(
                f"<text x='{LABELS + length + 6:.1f}' y='{y + 10}' {FONT} fill='#374151'>"
                f"{escape(group.texts[number])}</text>"
            )
            y += LINE
        y += GAP
    out.append("</svg>")
    return "\n".join(out) + "\n"
