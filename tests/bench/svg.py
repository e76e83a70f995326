# SPDX-License-Identifier: Apache-2.0
"""bench/svg - a chart of horizontal bars, one group a metric, written by hand"""

from xml.sax.saxutils import escape

WIDTH, BAR_LEFT, VALUE_ROOM = 760, 150, 90
BAR, GAP, HEAD, GROUP_GAP, MARGIN = 14, 4, 22, 16, 16
COLOURS = {"loopback": "#9aa0a6", "nswrap": "#1a73e8", "peer": "#c9b48f"}

# readable on a light and on a dark page
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #202124 }
.title { font-weight: 600 }
.ground { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e8eaed } .ground { fill: #202124 } }
"""


def colour(name):
    return COLOURS["nswrap" if name.startswith("nswrap") else "loopback" if name == "loopback" else "peer"]


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def group(title, row, top):
    """The lines of one metric and where the next begins."""
    lines = [f'<text class="title" x="{MARGIN}" y="{top + 13}">{escape(title)}</text>']
    longest = max(row.values()) or 1
    y = top + HEAD
    for name, value in row.items():
        length = max(1, round((WIDTH - BAR_LEFT - VALUE_ROOM) * value / longest))
        lines += [
            f'<text x="{BAR_LEFT - 8}" y="{y + 11}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{BAR_LEFT}" y="{y}" width="{length}" height="{BAR}" rx="2" fill="{colour(name)}"/>',
            f'<text x="{BAR_LEFT + length + 6}" y="{y + 11}">{number(value)}</text>',
        ]
        y += BAR + GAP
    return lines, y + GROUP_GAP


def bar_chart(medians, metrics):
    """medians: {metric: {candidate: value}}; metrics: {metric: (title, unit, higher is better)}."""
    body, top = [], MARGIN
    for metric, row in medians.items():
        title, unit, higher = metrics[metric]
        lines, top = group(f"{title}: {unit}, {'more' if higher else 'less'} is better", row, top)
        body += lines
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" '
        f'height="{top}" role="img" aria-label="nswrap measured beside other tools">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{top}"/>',
    ]
    return "\n".join([*head, *body, "</svg>"]) + "\n"
