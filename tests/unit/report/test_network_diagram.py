"""The drawing of a network: every layer is there, nothing overlaps, and it stands alone as a file."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from kilat.recipe.network_summary import Row
from kilat.report import network_diagram, svg_canvas
from kilat.report.palette import LAYER_COLOURS
from kilat.report.svg_canvas import FULL, text_width


def layer(kind: str, output_shape: tuple[int, ...], label: str = "layer") -> Row:
    return Row(label, kind, output_shape, trainable=0, frozen=0, macs=0, receptive_field=None)


def vgg() -> list[Row]:
    rows, side = [], 32
    for filters in (32, 64, 128, 256):
        for _ in range(2):
            rows += [layer("conv", (side, side, filters)), layer("batch_norm", (side, side, filters))]
        side //= 2
        rows += [layer("max_pool", (side, side, filters)), layer("dropout", (side, side, filters))]
    return [*rows, layer("flatten", (1024,)), layer("dense", (10,))]


def deep(blocks: int) -> list[Row]:
    rows = []
    for i in range(blocks):
        side = 56 >> (4 * i // blocks)
        rows += [layer(kind, (side, side, 7168 // side)) for kind in ("conv", "batch_norm", "activation")]
    return [*rows, layer("global_avg_pool", (1024,)), layer("dense", (1000,))]


NETWORKS = {
    "vgg": (vgg(), (32, 32, 3)),
    "deep": (deep(60), (224, 224, 3)),
    "deeper": (deep(300), (224, 224, 3)),
    "small": ([layer("flatten", (784,)), layer("dense", (10,))], (28, 28, 1)),
    "wide": ([layer("conv", (8, 512, 100_000)), layer("Strange", (17, 64)), layer("dense", (1,))], (16, 1024, 3)),
    "none": ([], (1, 1, 1)),
}


def drawn(name: str) -> ET.Element:
    return ET.fromstring(svg_canvas.standalone(network_diagram.volumes(*NETWORKS[name])))


def texts(root: ET.Element) -> list[tuple[float, float, str, str]]:
    found = root.iter("{http://www.w3.org/2000/svg}text")
    return [(float(t.attrib["x"]), float(t.attrib["y"]), t.attrib["text-anchor"], t.text or "") for t in found]


def spans(root: ET.Element) -> dict[float, list[tuple[float, float]]]:
    """From where to where each text reaches, line by line."""
    lines: dict[float, list[tuple[float, float]]] = {}
    for x, y, anchor, text in texts(root):
        width = text_width(text) * 11.5 / 13.5
        left = x - width / 2 if anchor == "middle" else x
        lines.setdefault(y, []).append((left, left + width))
    return lines


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_written_over_something_else_or_beyond_the_page(name):
    for line in spans(drawn(name)).values():
        ends = sorted(line)
        assert all(a[1] <= b[0] for a, b in pairwise(ends))
        assert ends[0][0] >= 0
        assert ends[-1][1] <= FULL


@pytest.mark.parametrize("name", ["vgg", "deep", "deeper", "small", "none"])
def test_every_box_is_on_the_page(name):
    svg = network_diagram.volumes(*NETWORKS[name])
    for start, length, lean in re.findall(r'd="M([\d.]+) [\d.]+h([\d.]+)l([\d.]+) ', svg):
        assert float(start) >= 0
        assert float(start) + float(length) + float(lean) <= FULL


def test_shapes_are_written_once_a_run_and_in_order():
    shapes = [text for _x, _y, anchor, text in texts(drawn("vgg")) if anchor == "middle"]
    assert shapes == ["32×32×3", "32×32×32", "16×16×32", "16×16×64", "8×8×64", "8×8×128", "4×4×128", "4×4×256",
                      "2×2×256", "1024", "10"]  # fmt: skip


def test_the_legend_names_the_kinds_that_there_are():
    names = [text for _x, _y, anchor, text in texts(drawn("vgg")) if anchor == "start"]
    assert names == ["input", "conv", "batch norm", "max pool", "dropout", "flatten", "dense"]
    assert "Strange" in [text for *_place, text in texts(drawn("wide"))]


def test_layers_that_change_no_shape_are_part_of_the_volume_before_them():
    svg = network_diagram.volumes(
        [layer("conv", (8, 8, 4), "first"), layer("batch_norm", (8, 8, 4), "norm")], (8, 8, 3)
    )
    assert "<title>first, norm: 8×8×4</title>" in svg
    assert svg.count("<g>") == 2


def test_a_long_network_draws_equal_neighbours_once():
    svg = network_diagram.volumes(*NETWORKS["deeper"])
    assert svg.count("<g>") < 12
    assert ">75×<" in svg
    assert network_diagram.volumes(*NETWORKS["deep"]).count("<g>") == 63


def test_a_page_gives_the_colours_and_a_file_has_its_own():
    svg = network_diagram.volumes(*NETWORKS["vgg"])
    used = set(re.findall(r"var\(--([\w-]+)\)", svg))
    assert {name for name in used if name.startswith("layer-")} <= set(LAYER_COLOURS)
    assert used - set(LAYER_COLOURS) == {"muted", "line", "page"}
    alone = svg_canvas.standalone(svg)
    assert "var(" not in alone
    assert ET.fromstring(alone).attrib["width"] == "760"
    assert network_diagram.volumes(*NETWORKS["vgg"]) == svg


def test_names_are_only_ever_text():
    row = layer("<b>&", (3,), '"><script>\ud800\x00')
    alone = svg_canvas.standalone(network_diagram.volumes([row], (4, 4, 1)))
    assert "<script" not in alone
    assert "<b>" not in alone
    assert ET.fromstring(alone.encode("utf-8").decode("utf-8")) is not None
