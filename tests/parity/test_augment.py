"""Augmentation against Keras's ``ImageDataGenerator`` and torchvision's transforms, operation by operation."""

import math
import os

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from scipy import stats  # noqa: E402 - after the check for the extra
from torchvision.transforms import RandAugment, RandomErasing, RandomResizedCrop, TrivialAugmentWide  # noqa: E402
from torchvision.transforms import functional as reference  # noqa: E402
from torchvision.transforms.autoaugment import _apply_op  # noqa: E402

from kilat.fit.augment import colour, geometry, mixing, policies  # noqa: E402

OUTSIDE = geometry.Outside("constant", 0.0)
NAMES = {
    "Identity": "identity", "ShearX": "shear_x", "ShearY": "shear_y", "TranslateX": "translate_x",
    "TranslateY": "translate_y", "Rotate": "rotate", "Brightness": "brightness", "Color": "saturation",
    "Contrast": "contrast", "Sharpness": "sharpness", "Posterize": "posterize", "Solarize": "solarize",
    "AutoContrast": "autocontrast", "Equalize": "equalize",
}  # fmt: skip


def smooth(channels=3, height=24, width=20):
    """A picture with every grey level and no noise, so that a position that is slightly off is a value slightly off."""
    y, x = np.mgrid[:height, :width] / 20.0
    waves = [127 + 120 * np.sin(3 * x + 2 * c) * np.cos(2 * y - c) for c in range(channels)]
    return torch.from_numpy(np.stack(waves).round().astype(np.uint8))


@pytest.fixture(scope="module")
def keras_affine():
    os.environ["KERAS_BACKEND"] = "torch"
    pytest.importorskip("keras", reason="Keras is not installed")
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    return apply_affine_transform


@pytest.mark.parametrize("fill", ["nearest", "reflect", "constant", "wrap"])
def test_affine_maps_are_those_of_keras(keras_affine, fill):
    drawn = {"theta": 25.0, "ty": 0.2 * 24, "tx": -0.1 * 24, "shear": -12.0, "zx": 0.8, "zy": 1.15}
    rotation, down, right, shear, zoom_x, zoom_y = (torch.tensor([value]) for value in drawn.values())
    maps = geometry.affine_maps(rotation, shear, right, down, zoom_x, zoom_y)
    planes = smooth(3, 24, 24)[None].float()
    found = geometry.warp(planes, maps, geometry.Outside(fill, 50))[0].permute(1, 2, 0).numpy()
    # SciPy's own "constant" and "wrap" break off or double the border; its "grid-" modes are what is meant.
    mode = {"constant": "grid-constant", "wrap": "grid-wrap"}.get(fill, fill)
    axes = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
    wanted = keras_affine(planes[0].permute(1, 2, 0).double().numpy(), **drawn, **axes, fill_mode=mode, cval=50)
    np.testing.assert_allclose(found, wanted, atol=0.02)


@pytest.mark.parametrize(("top", "left", "height", "width"), [(3, 5, 10, 12), (0, 0, 18, 24), (21, 20, 3, 4)])
def test_resized_crops_are_those_of_torchvision(top, left, height, width):
    side = 24
    picture = smooth(3, side, side).float()
    share = torch.tensor([[width / side, height / side]])
    middle = torch.tensor([[left + (width - side) / 2, top + (height - side) / 2]])
    (found,) = geometry.warp(picture[None], geometry.crop_maps(share, middle), geometry.Outside("nearest", 0.0))
    sizes = top, left, height, width, [side, side]
    wanted = reference.resized_crop(picture, *sizes, reference.InterpolationMode.BILINEAR, antialias=False)
    # torchvision cuts the box out before it enlarges: at its edge, pixels have no neighbours there.
    inner = [slice(*_inner(side, drawn, end == side)) for drawn, end in ((height, top + height), (width, left + width))]
    difference = (found - wanted).abs()
    assert difference[:, *inner].max() < 0.02
    assert difference[:, *inner].numel() > difference.numel() / 3


def _inner(side, drawn, is_last):
    """The first new pixel, and the one after the last, that is between pixels of the box."""
    position = (np.arange(side) + 0.5) * drawn / side - 0.5
    within = np.flatnonzero((position >= -1e-6) & (position <= drawn - 1 + 1e-6))
    return within[0], side if is_last else within[-1] + 1


@pytest.mark.parametrize("kept", [(0.08, 1.0), (0.35, 1.0), (0.9, 1.0)])
@pytest.mark.parametrize(("height", "width"), [(2400, 2400), (5000, 3000)])  # whole pixels there make no difference
def test_resized_crops_are_drawn_as_torchvision_draws_them(height, width, kept):
    n = 1500
    share, middle = geometry.draw_resized_crops(n, (height, width), kept, torch.Generator().manual_seed(0))
    picture = torch.empty(1, 1, 1).expand(1, height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = np.array([RandomResizedCrop.get_params(picture, list(kept), [3 / 4, 4 / 3]) for _ in range(n)])
    top, left, tall, wide = theirs.T
    ours = (share * torch.tensor([width, height])).double().numpy()
    assert is_alike(ours[:, 0] * ours[:, 1], wide * tall)
    assert is_alike(ours[:, 1] / ours[:, 0], tall / wide)
    assert is_alike(middle[:, 0].numpy(), left + (wide - width) / 2)
    assert is_alike(middle[:, 1].numpy(), top + (tall - height) / 2)


def test_rectangles_are_erased_as_torchvision_erases_them():
    n, height, width = 1500, 60, 40
    erased = mixing.erasing(torch.zeros(n, 1, height, width), 1.0, torch.Generator().manual_seed(0))[:, 0] > 0
    tall, wide = erased.any(2).sum(1).numpy(), erased.any(1).sum(1).numpy()
    top, left = erased.any(2).int().argmax(1).numpy(), erased.any(1).int().argmax(1).numpy()
    picture = torch.zeros(1, height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = np.array([RandomErasing.get_params(picture, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(n)])
    for found, wanted in zip((top, left, tall, wide), theirs.T, strict=True):
        assert is_alike(found, wanted)
    assert is_alike(tall * wide, theirs[:, 2] * theirs[:, 3])
    assert (tall * wide > 0).all()


def is_alike(found, wanted):
    """By Kolmogorov and Smirnov: two samples could be of one distribution, with one chance in a hundred to be wrong."""
    return stats.ks_2samp(found, wanted).pvalue > 0.01


def _ours(name, strength, picture):
    planes = policies.OPERATIONS[name].apply(picture[None].float(), torch.tensor([float(strength)]), OUTSIDE)
    return planes[0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("space", ["rand", "wide"])
@pytest.mark.parametrize("torchvision_name", NAMES)
def test_operations_are_those_of_torchvision(torchvision_name, space, channels):
    picture = smooth(channels)
    for magnitude, strength in zip(*_magnitudes(torchvision_name, space, 20, 24), strict=True):
        # fill None is black too; a fill that is given dims pixels at the edge twice in torchvision
        wanted = _apply_op(picture, torchvision_name, magnitude, reference.InterpolationMode.BILINEAR, None)
        found = _ours(NAMES[torchvision_name], strength, picture)
        assert (found - wanted.float()).abs().max() <= 2.0, (magnitude, strength)


def _magnitudes(torchvision_name, space, width, height):
    """torchvision's magnitudes of one operation at eight levels of both signs, and what kilat makes of those levels."""
    operation = policies.OPERATIONS[NAMES[torchvision_name]]
    if space == "rand":
        magnitudes, signed = RandAugment()._augmentation_space(31, (height, width))[torchvision_name]
        most = operation.most * {"TranslateX": width, "TranslateY": height}.get(torchvision_name, 1)
    else:
        magnitudes, signed = TrivialAugmentWide()._augmentation_space(31)[torchvision_name]
        most = operation.widest
    assert operation.is_signed == signed
    levels = [0, 4, 9, 13, 17, 22, 26, 30]
    signs = (1, -1) if signed else (1,)
    theirs = [sign * float(magnitudes[k] if magnitudes.ndim else 0) for sign in signs for k in levels]
    return theirs, [sign * most * k / 30 for sign in signs for k in levels]


@pytest.mark.parametrize("space", ["rand", "wide"])
def test_strengths_are_those_of_torchvision(space):
    for name in NAMES:
        theirs, ours = _magnitudes(name, space, 331, 331)
        if name == "Posterize":
            ours = [8 - round(value) for value in ours]
        if name == "Solarize":
            ours = [255 - value for value in ours]
        assert all(math.isclose(a, b, abs_tol=1e-3) for a, b in zip(theirs, ours, strict=True)), name


@pytest.mark.parametrize("levels", [1, 2, 3, 256])
def test_equalize_and_autocontrast_of_few_levels(levels):
    generator = torch.Generator().manual_seed(levels)
    pictures = torch.randint(0, levels, (5, 3, 30, 30), generator=generator).mul(255 // levels).to(torch.uint8)
    assert torch.equal(colour.equalize(pictures.float()), reference.equalize(pictures).float())
    difference = colour.autocontrast(pictures.float()) - reference.autocontrast(pictures).float()
    assert difference.abs().max() < 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (colour.brightness, reference.adjust_brightness),
        (colour.contrast, reference.adjust_contrast),
        (colour.saturation, reference.adjust_saturation),
        (colour.sharpness, reference.adjust_sharpness),
    ],
    ids=lambda function: function.__name__,
)
def test_changes_of_values_are_those_of_torchvision(ours, theirs):
    pictures = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    factors = [0.0, 0.4, 1.0, 1.9]
    wanted = torch.stack([theirs(picture, factor) for picture, factor in zip(pictures, factors, strict=True)])
    found = ours(pictures.float(), torch.tensor(factors).view(-1, 1, 1, 1))
    assert (found - wanted.float()).abs().max() <= 1.5
