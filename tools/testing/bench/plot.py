# SPDX-License-Identifier: GPL-2.0
"""Plot the benchmark's results: bars, relative to the better peer."""

from html import escape

LEFT, SCALE, MOST = 330, 220, 2.4
BAR, GAP, TOP = 8, 10, 92
COLOURS = ("#b0b7bf", "#5b7fa6", "#d9622b", "#e8a87c", "#6b8e5a")


def text(x, y, content, **more):
    """A line of text."""
    attributes = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
    return f'<text x="{x:.0f}" y="{y:.0f}"{attributes}>{escape(content)}</text>'


def rectangle(x, y, width, height, colour):
    """A filled rectangle."""
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def bar(y, colour, value, better, label):
    """One driver's bar; what is too long for the plot ends in an arrow."""
    length = max(value / better, 0) if better > 0 else (MOST if value > 0 else 0)
    shown = min(length, MOST)
    if length > MOST:
        label = f"\u2192 {label}"
    return [rectangle(LEFT, y, max(shown * SCALE, 1), BAR - 1, colour),
            text(LEFT + shown * SCALE + 5, y + BAR - 1, label, font_size=9, fill="#444")]


def group(y, result, drivers, ours, number):
    """The bars of one row and operation."""
    values = {d: s["value"] for d, s in result["drivers"].items()}
    peers = [v for d, v in values.items() if d not in ours] or list(values.values())
    parts = [text(LEFT - 8, y + BAR * 2.4, f"{result['title']}: {result['operation']}",
                  text_anchor="end")]
    for i, driver in enumerate(drivers):
        if driver in values:
            parts += bar(y + i * BAR, COLOURS[i], values[driver], min(peers),
                         f"{number(values[driver])}")
    return parts


def legend(drivers):
    """The colours and the axis."""
    parts = []
    for i, title in enumerate(drivers.values()):
        parts.append(rectangle(LEFT + i * 110, 50, 12, 12, COLOURS[i]))
        parts.append(text(LEFT + i * 110 + 18, 60, title))
    for tick in (0, 0.5, 1, 1.5, 2):
        parts.append(text(LEFT + tick * SCALE, TOP - 12, f"{tick:g}", text_anchor="middle",
                          fill="#777"))
    return parts


def svg(about, results, drivers, ours, number):
    """The whole picture."""
    step = len(drivers) * BAR + GAP
    height = TOP + len(results) * step + 20
    width = LEFT + MOST * SCALE + 90
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'width="{width:.0f}" height="{height}" font-family="sans-serif" font-size="12">',
        rectangle(0, 0, width, height, "white"),
        text(12, 24, "Mapping and unmapping: cost relative to the better of two peers",
             font_size=16),
        text(12, 42, about, font_size=10, fill="#555"),
    ]
    parts += legend(drivers)
    for tick in (0, 0.5, 1, 1.5, 2):
        x = LEFT + tick * SCALE
        colour = "#333" if tick == 1 else "#e4e4e4"
        parts.append(f'<line x1="{x}" y1="{TOP - 6}" x2="{x}" y2="{height - 20}" '
                     f'stroke="{colour}"/>')
    for i, result in enumerate(results):
        parts += group(TOP + i * step, result, drivers, ours, number)
    return "\n".join(parts + ["</svg>"]) + "\n"
