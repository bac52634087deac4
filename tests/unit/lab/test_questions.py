"""Questions: each gives variants that are valid recipes, for the recipes that it makes sense of."""

import numpy as np
import pytest

from kilat import recipe as recipes
from kilat.data.arrays import ArraySource
from kilat.errors import RecipeError
from kilat.lab.questions import find, proposals, questions
from kilat.lab.variants import check


def source_of(side):
    return ArraySource(np.zeros((4, side, side), np.uint8), ["a", "a", "b", "b"], "drawn")


SMALL, LARGE = source_of(8), source_of(200)


def variants(question, recipe=None, source=SMALL, **overrides):
    return check(proposals(question, recipe, overrides, source), overrides)


@pytest.mark.parametrize("name", questions())
def test_every_question_has_valid_variants_in_the_recipe_that_it_is_put_to(name):
    found = variants(name)
    assert len(found) >= 2


@pytest.mark.parametrize(
    ("written", "name"),
    [("Batch norm", "batch-norm"), ("batchnorm", "batch-norm"), ("lr", "learning-rate"), ("OPTIMISER", "optimizer")],
)
def test_names_are_found_however_they_are_written(written, name):
    assert find(written)[0] == name


def test_unknown_names_get_the_nearest():
    with pytest.raises(RecipeError, match="'augmentation'"):
        find("augmentatoin")


@pytest.mark.parametrize(
    ("question", "recipe", "part"),
    [
        ("dropout", "transfer", "this recipe trains none"),
        ("components", "small-cnn", "about frozen backbones"),
        ("dropout", "finetune", "fine-tunes a backbone"),
        ("pooling", {"model": {"layers": ["flatten", {"dense": "classes"}]}}, "changes nothing"),
    ],
)
def test_a_question_that_makes_no_sense_of_a_recipe_says_so(question, recipe, part):
    with pytest.raises(RecipeError, match=part):
        variants(question, recipe)


def test_options_of_a_backbone_are_those_of_fine_tuning_too():
    assert [path for one in variants("resize", "finetune") for path in one.options] == ["features.resize"] * 3


def test_photos_keep_their_colours_and_more_pixels():
    photos = variants("dropout", source=LARGE)[0].recipe.input
    assert (photos.colour, photos.size) == ("rgb", 48)
    assert variants("dropout")[0].recipe == variants("dropout", "small-cnn")[0].recipe


class TestLayers:
    def layers(self, question, at, recipe="small-cnn"):
        return variants(question, recipe)[at].recipe.model_dump(mode="json")["model"]["layers"]

    def test_dropout_is_left_out_set_or_as_given(self):
        assert "dropout" not in str(self.layers("dropout", 0))
        assert str(self.layers("dropout", 1)).count("{'dropout': {'rate': 0.2}}") == 3
        assert self.layers("dropout", 3) == recipes.load("small-cnn").model_dump(mode="json")["model"]["layers"]

    def test_dropout_comes_before_the_last_layer_where_there_is_none(self):
        dense = {"model": {"layers": ["flatten", {"dense": 4}, {"dense": "classes"}]}}
        assert [next(iter(one)) for one in self.layers("dropout", 1, dense)[1:]] == ["dense", "dropout", "dense"]

    def test_pooling_by_stride_has_no_pool(self):
        stride = self.layers("pooling", 2)
        assert "pool" not in str(stride).replace("global_avg_pool", "")
        assert str(stride).count("'stride': [2, 2]") == 2

    def test_residual_blocks_are_where_shapes_allow_it(self):
        assert sum("residual" in str(one) for one in self.layers("residual", 1)) == 3

    def test_layers_in_blocks_are_changed_as_well(self):
        nested = {"model": {"layers": ["flatten", {"residual": [{"dense": 64}, "batch_norm"]}, {"dense": "classes"}]}}
        found = variants("normalisation", nested)
        assert "batch_norm" not in str(found[0].recipe.model.layers)
        assert "layer_norm" in str(found[2].recipe.model_dump(mode="json"))
