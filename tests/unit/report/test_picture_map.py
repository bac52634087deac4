"""The map of the pictures: which are on it and how they are drawn, and what the script is told of them."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kilat.check.finding import Finding
from kilat.data.catalog import Catalog
from kilat.data.image_stats import IMAGE_STATS
from kilat.report import map_figure
from kilat.report.illustrations import Illustrations
from kilat.report.page import render
from kilat.report.picture_map import MOST, MOST_MARKED, Marks, PictureMap, choose_rows, small_copies, tiles


def catalog_of(counts):
    labels = np.repeat(list(counts), list(counts.values())).astype(object)
    paths = [f"{label}/{i}.jpg" for i, label in enumerate(labels)]
    table = {"path": paths, "label": labels, "split": "test", "status": "used", "width": 40, "height": 20}
    return pd.DataFrame(table)


def marks_of(catalog, *, mistakes=(), suspected=()):
    rows = np.arange(len(catalog))
    return Marks(np.isin(rows, mistakes), np.isin(rows, suspected))


class TestWhichPictures:
    def test_all_of_few(self):
        catalog = catalog_of({"cat": 3, "dog": 5})
        assert choose_rows(catalog, np.arange(8), marks_of(catalog)).tolist() == list(range(8))

    def test_of_many_what_is_marked_and_the_same_share_of_each_class(self):
        catalog = catalog_of({"cat": 3_000, "dog": 1_000})
        mistakes = np.arange(0, 4_000, 40)
        chosen = choose_rows(catalog, np.arange(4_000), marks_of(catalog, mistakes=mistakes, suspected=[7]))
        assert len(chosen) == MOST
        assert {*mistakes, 7} <= {*chosen}
        others = np.setdiff1d(chosen, [*mistakes, 7])
        assert (catalog["label"][others] == "cat").mean() == pytest.approx(0.75, abs=0.01)

    def test_what_is_marked_never_takes_more_than_half_unless_there_is_room(self):
        catalog = catalog_of({"cat": 3_000})
        marked = marks_of(catalog, mistakes=np.arange(900))
        assert (choose_rows(catalog, np.arange(3_000), marked) < 900).sum() == MOST_MARKED
        assert (choose_rows(catalog, np.arange(1_100), marked) < 900).sum() == MOST - 200

    def test_only_rows_that_there_is_an_embedding_of(self):
        catalog = catalog_of({"cat": 10})
        chosen = choose_rows(catalog, np.array([1, 4]), marks_of(catalog, mistakes=[1, 2]))
        assert chosen.tolist() == [1, 4]

    @pytest.mark.parametrize("split", ["test", "validation"])
    def test_marks_are_of_the_measured_answers(self, split):
        catalog = catalog_of({"cat": 4})
        answers = pd.DataFrame({"path": catalog["path"], "split": split, "label": "cat", "predicted": list("ABAB")})
        answers.loc[answers["predicted"] == "A", "predicted"] = "cat"
        answers.loc[3, "split"] = "calibration"
        marks = Marks.of(catalog, answers, [Finding("suspected_labels", "warning", {}, ((2,),))])
        assert np.flatnonzero(marks.mistakes).tolist() == [1]
        assert np.flatnonzero(marks.suspected).tolist() == [2]


def test_small_copies_have_the_colours_of_the_pictures():
    catalog = Catalog(catalog_of({"cat": 40}))
    colours = np.random.default_rng(0).integers(40, 215, (40, 3))
    stats = np.zeros(40, IMAGE_STATS)
    stats["colour_grid"] = colours[:, None, None]
    luminance = [Image.new("RGB", (1, 1), tuple(colour)).convert("L").getpixel((0, 0)) for colour in colours.tolist()]
    stats["thumbnail"] = np.array(luminance)[:, None, None]
    catalog.image_stats = stats
    rows = np.arange(1, 40, 2)
    placed = PictureMap(
        rows=rows.tolist(), x=[0] * 20, y=[0] * 20, height=400, is_neighbour_embedding=False, neighbours_kept=1.0,
        tiles=tiles(catalog, rows),
    )  # fmt: skip
    copies = small_copies(placed, [3, 4, 39])
    assert set(copies) == {3, 39}
    for row, copy in copies.items():
        np.testing.assert_allclose(np.asarray(copy)[8:-8, 8:-8].mean((0, 1)), colours[row], atol=8)
    assert len(base64.b64decode(placed.tiles)) < 20 * 350
    assert Image.open(io.BytesIO(base64.b64decode(placed.tiles))).size == (32 * 32, 32)


@pytest.fixture
def mapped(report_of):
    """A report with a map of its thirty pictures, two of them marked."""

    def make(classes=("cat", "dog", "owl")):
        said = {"label": classes[0], "suggested": classes[1], "probability": 0.9}
        values = {"count": 1, "n": 30, "path": f"{classes[0]}/1.jpg", "folds": 5, "one_way": [], **said}
        suspected = {"kind": "suspected_labels", "severity": "warning", "values": values,
                     "pictures": [[f"{classes[0]}/1.jpg"]], "caption_values": [said]}  # fmt: skip
        report = report_of(classes, metrics={"check": {"serious": 0, "findings": [suspected]}})
        rows = np.flatnonzero(report.catalog["status"] == "used")
        x, y = np.unravel_index(np.arange(len(rows)), (len(classes), 10))
        placed = PictureMap(
            rows=rows.tolist(), x=(100 + 200 * x).tolist(), y=(20 + 40 * y).tolist(), height=420,
            is_neighbour_embedding=True, neighbours_kept=0.4812, tiles="/9j/4AAQ",
        )  # fmt: skip
        illustrations = Illustrations(picture_map=placed)
        return replace(report, illustrations=illustrations)

    return make


def data_of(html):
    return json.loads(html.partition('<script type="application/json">')[2].partition("</script>")[0])


class TestThePage:
    def test_every_picture_is_a_point_and_what_is_marked_stands_last(self, mapped, parse):
        html = render(mapped())
        points = html.partition('<g class="points">')[2].partition('<g class="names"')[0]
        assert points.count('<use href="#point-') == 30
        assert points.count('href="#mistake"') == points.count("data-mistake") == 1
        assert points.count('href="#suspect"') == points.count("data-suspect") == 1
        assert points.index("data-mistake") > points.rindex('y="380"/>\n</g>\n<g data-class')
        text = parse(html).text
        assert "48% of a picture's ten nearest neighbours are among its ten nearest here" in text
        assert "answered wrongly" in text
        assert "label suspected to be wrong" in text

    def test_classes_differ_in_colour_and_in_shape_and_have_their_names_beside_them(self, mapped):
        html = render(mapped())
        groups = html.partition('<g class="points">')[2]
        for number, shape in enumerate(("circle", "square", "triangle")):
            assert f'<g data-class="{number}" class="colour-{number}">\n<use href="#point-{shape}"' in groups
        for name in ("cat", "dog", "owl"):
            assert f">{name}</text>" in html

    def test_the_script_is_told_of_the_points_in_their_order(self, mapped):
        report = mapped()
        data = data_of(render(report))
        assert data["classes"] == ["cat", "dog", "owl"]
        paths = [picture[0] for picture in data["pictures"]]
        assert sorted(paths) == sorted(f"{name}/{i}.jpg" for name in data["classes"] for i in range(10))
        assert paths[-2:] == ["cat/1.jpg", "dog/5.jpg"]
        _path, split, predicted, probability, aspect, tile = data["pictures"][-1]
        assert (data["splits"][split], data["classes"][predicted], probability, aspect, tile) == (
            "test",
            "cat",
            0.988,
            1,
            15,
        )

    def test_names_end_nothing(self, mapped, parse):
        names = ("</script><script>alert(1)</script>", "<!--", "\udc80 ]]> & “x”")
        html = render(mapped(names))
        html.encode("utf-8")
        assert html.count("<script") == 2
        assert data_of(html)["classes"][:2] == list(names[:2])

    def test_a_map_of_many_classes_has_no_list_of_them_and_few_names(self, mapped, parse):
        names = [f"class {i:03}" for i in range(120)]
        html = render(mapped(names))
        assert html.count("</text>", html.index('<g class="names"'), html.index('class="card"')) <= map_figure.NAMES
        assert "Of so many classes some have the same colour and shape" in parse(html).text
        legend = html.partition('<ul class="legend">')[2].partition("</ul>")[0]
        assert legend.count("<li>") == 2

    def test_a_run_without_one_has_no_map(self, report_of):
        assert '<section id="map">' not in render(report_of())
