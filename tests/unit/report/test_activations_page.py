"""The page of activations: which layers and channels it shows, how, and that it stays small."""

import io

import numpy as np
import pytest
from PIL import Image

from kilat.bundle.feature_maps import Activations, LayerOutput
from kilat.bundle.prediction import Prediction
from kilat.report import activations_page
from kilat.report.activations_page import HANDFUL, as_map, chosen_channels, chosen_layers
from kilat.report.layer_sheets import filter_sheet, map_sheet
from kilat.report.map_tiles import filter_image, map_image

random = np.random.default_rng(0)


def layer(name="conv", shape=(12, 12, 40), filters=None, values=None):
    values = random.normal(size=shape).astype(np.float32) if values is None else values
    return LayerOutput(name, "conv", values, filters=filters)


def found(layers, *, unknown=False):
    answer = Prediction("a.png", "cat", 0.75, {"cat": 0.75, "dog": 0.25}, ["cat"], unknown)
    return Activations(answer, np.zeros((8, 8, 3), np.uint8), layers, [one.name for one in layers])


class TestPage:
    @pytest.fixture(scope="class")
    def layers(self):
        """Maps of noise, which no compression makes smaller."""
        noise = random.normal(size=(60, 60, 32)).astype(np.float32)
        return [layer(f"conv_{i}", values=noise) for i in range(150)]

    def test_a_deep_network_shows_a_handful_and_names_the_others(self, parse, layers):
        page = parse(activations_page.render("model", "kilat activations …", found(layers), by_name=False))
        assert len(page.html) < 2_000_000
        shown = [one.name for one in chosen_layers(layers)]
        assert len(shown) == HANDFUL
        assert (shown[0], shown[-1]) == ("conv_0", "conv_149")
        assert "134 more layers" in page.text
        assert "--layer NAME" in page.text
        assert "conv_1, conv_2" in page.text

    def test_however_many_are_named_it_stays_small(self, layers):
        page = activations_page.render("model", "", found(layers), by_name=True)
        assert len(page) < 2_000_000
        assert all(f">conv_{i}</h3>" in page for i in range(150))

    def test_each_layer_has_its_shape_and_its_range(self, parse):
        values = np.zeros((4, 6, 3), np.float32)
        values[0, 0] = [-1.5, 2.25, 0]
        page = parse(activations_page.render("model", "", found([layer(values=values)]), by_name=False))
        assert "conv · 4×6×3 · -1.5 to 2.25" in page.text
        assert "1 channel of zeros alone" in page.text
        assert "The answer is “cat”, with a probability of 75.0%." in page.text

    def test_an_unknown_picture_is_called_one(self, parse):
        page = parse(activations_page.render("m", "", found([layer()], unknown=True), by_name=False))
        assert "none of these" in page.text

    def test_names_cannot_break_it(self, parse):
        page = parse(activations_page.render("<b>", "", found([layer("<script>")]), by_name=True))
        assert len(page.scripts) == 1


class TestMaps:
    def test_the_first_channels_then_those_that_vary_most(self):
        grid = np.zeros((4, 4, 100), np.float32)
        grid[0, 0, 70], grid[0, 0, 90], grid[..., 95] = 1, 2, 5
        chosen = chosen_channels(grid, 24)
        assert chosen[:10] == [*range(8), 90, 70]
        assert len(set(chosen)) == 24
        assert chosen_channels(grid[..., :24], 24) == list(range(24))

    @pytest.mark.parametrize(("tokens", "side"), [(16, 4), (17, 4), (50, 7), (198, 14)])
    def test_tokens_of_a_transformer_are_laid_out_as_patches(self, tokens, side):
        assert as_map(np.zeros((tokens, 5), np.float32)).shape == (side, side, 5)

    def test_units_are_no_map(self):
        assert as_map(np.zeros(10, np.float32)) is None
        assert as_map(np.zeros((1, 1, 10), np.float32)) is None
        assert as_map(np.zeros((8, 10), np.float32)) is None

    def test_colours_tell_the_sign_and_the_size(self):
        pixels = np.asarray(map_image(np.array([[-1.0, 0, 1, 0.5]]), 1.0).convert("RGB")).astype(int)[0]
        negative, zero, positive, half = pixels
        assert negative[2] > negative[0], "blue"
        assert positive[0] > positive[2], "orange"
        assert zero.min() > 220
        assert zero.sum() > half.sum() > positive.sum()

    def test_a_filter_on_colours_is_in_colours(self):
        red = np.zeros((3, 3, 3), np.float32)
        red[..., 0] = 1
        assert np.asarray(filter_image(red))[0, 0].tolist() == [255, 128, 128]

    def test_sheets_hold_every_channel(self):
        whole = layer(shape=(6, 6, 9), filters=random.normal(size=(9, 3, 3, 1)).astype(np.float32))
        for png in (map_sheet(whole), filter_sheet(whole), map_sheet(layer(shape=(10,)))):
            assert min(Image.open(io.BytesIO(png)).size) > 9
