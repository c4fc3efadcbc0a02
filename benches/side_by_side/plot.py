"""Line plots as SVG, written by hand: panels side by side over one logarithmic axis of tokens."""
import math
from dataclasses import dataclass
from html import escape
from pathlib import Path

WIDTH, HEIGHT = 380, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 40, 48  # its margins
COLOURS = ("#1f6fb2", "#c8541b", "#3d8b4f", "#7a52a8")
STYLE = "text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-size: 14px; font-weight: 600 } .grid { stroke: #ddd }"


@dataclass
class Panel:
    """Curves (name -> points) under a title that names the vertical quantity."""

    title: str
    series: dict


def write_svg(path, x_label, panels):
    """Writes the panels next to each other; the legend stands below them."""
    names = list(panels[0].series)
    width, height = WIDTH * len(panels), HEIGHT + 28
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate({number * WIDTH} 0)">', *draw(panel, x_label), "</g>"]
    for number, name in enumerate(names):
        x, y = LEFT + 200 * number, HEIGHT + 10
        parts.append(f'<line x1="{x}" x2="{x + 22}" y1="{y}" y2="{y}" stroke="{COLOURS[number]}" stroke-width="2.5"/>')
        parts.append(text(x + 28, y + 4, name))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join([*parts, "</svg>"]) + "\n")


def draw(panel, x_label):
    """A panel's elements."""
    points = [point for curve in panel.series.values() for point in curve]
    if not points:
        return [text(LEFT, TOP, f"{panel.title}: nothing was measured")]
    xs, ticks = sorted({x for x, _ in points}), round_ticks(max(y for _, y in points))
    low, high = math.log2(xs[0]), math.log2(max(xs[-1], 2 * xs[0]))

    def place(x, y):
        across = (math.log2(x) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        return LEFT + across, HEIGHT - BOTTOM - y / ticks[-1] * (HEIGHT - TOP - BOTTOM)

    parts = [text(LEFT, 22, panel.title, "title"), text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_label, anchor="middle")]
    for tick in ticks:
        y = place(xs[0], tick)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(text(LEFT - 8, y + 4, f"{tick:g}", anchor="end"))
    parts += [text(place(x, 0)[0], HEIGHT - BOTTOM + 18, str(x), anchor="middle") for x in xs]
    for colour, curve in zip(COLOURS, panel.series.values()):
        placed = [place(*point) for point in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in placed]
    return parts


def round_ticks(highest):
    """From 0 to `highest` or a little more, in 4 to 8 steps of 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(highest / 4))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= highest / 4)
    return [round(step * n, 10) for n in range(math.ceil(highest / step) + 1)]


def text(x, y, words, kind="", anchor="start"):
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(words)}</text>'
