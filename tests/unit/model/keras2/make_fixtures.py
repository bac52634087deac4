"""Writes the models of this folder with a real tf.keras 2: each as its description, its weights and its answers.

    pip install tensorflow-cpu==2.15.1
    python tests/unit/model/keras2/make_fixtures.py

The tests write them as ``.h5`` again, in the form in which tf.keras writes it; ``nested.keras`` is a file as it was.
"""

import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf

keras = tf.keras
layers, applications = keras.layers, keras.applications
HERE = Path(__file__).parent
SIZE = 12


def pixels(channels: int) -> np.ndarray:
    """Return the pictures that the answers are for; the tests draw the same."""
    coarse = np.random.default_rng(1).integers(0, 256, (4, 4, 4, channels)).astype(np.uint8)
    return coarse.repeat(SIZE // 4, 1).repeat(SIZE // 4, 2)


def body(values, filters: int = 4):
    values = layers.Conv2D(filters, 3, strides=2, use_bias=False)(values)
    values = layers.ReLU(6.0)(layers.BatchNormalization()(values))
    return layers.DepthwiseConv2D(3, padding="same")(values)


def head(values, units: int = 3, activation="softmax"):
    return layers.Dense(units, activation=activation)(layers.GlobalAveragePooling2D()(values))


def functional(preprocess, **given):
    image = keras.Input((SIZE, SIZE, 3))
    return keras.Model(image, head(body(preprocess(image)), **given))


def operations(image):
    """Operations that models of tf.keras hold between input and layers, each with a visible effect."""
    scaled = tf.cast(image, tf.float32) / 127.5 - 1
    flipped = tf.reverse(scaled, axis=[-1])
    grey = tf.image.rgb_to_grayscale(image) / 255.0
    cropped = scaled[:, 2:-2, 2:10]
    resized = tf.image.resize(cropped, (SIZE, SIZE))
    red, _green, blue = tf.split(tf.nn.relu6(image / 30.0), 3, axis=-1)
    stacked = tf.stack([image[..., 2] / 300.0, tf.maximum(tf.minimum(image[..., 0] / 255.0, 0.8), 0.2)], axis=-1)
    centred = (image - tf.reduce_mean(image, axis=[1, 2], keepdims=True)) / 50.0
    odd = tf.sqrt(tf.abs(1 - image / 255.0)) + tf.pow(image / 255.0, 2.0) * tf.clip_by_value(scaled, -0.5, 0.5)
    swapped = tf.transpose(tf.transpose(scaled, [0, 2, 1, 3]), [0, 1, 2, 3])
    standard = tf.image.per_image_standardization(image) + tf.nn.swish(scaled) + tf.square(scaled) - tf.exp(scaled)
    padded = tf.pad(standard[:, :-2, :-4], [[0, 0], [1, 1], [2, 2], [0, 0]])
    whole = tf.image.convert_image_dtype(tf.cast(image, tf.uint8), tf.float32)
    first = tf.squeeze(tf.expand_dims(image[..., 1], -1) / 100.0, [-1])
    return tf.concat(
        [flipped, grey, resized, red, blue, stacked, centred, odd, swapped, padded, whole, tf.expand_dims(first, -1)],
        -1,
    )


def misc(image):
    """Activations under names of their own, among them the hard sigmoid, which is another one in Keras 3."""
    values = layers.Rescaling(1 / 127.5, offset=-1)(image)
    values = layers.Conv2D(4, 3, activation=layers.LeakyReLU(0.1))(values)
    values = layers.Conv2D(8, 3, groups=2, activation=tf.nn.relu6)(values)
    values = layers.LeakyReLU(alpha=0.3)(layers.SeparableConv2D(6, 3, activation="hard_sigmoid")(values))
    values = layers.PReLU(shared_axes=[1, 2])(layers.Conv2DTranspose(6, 2, activation="gelu")(values))
    values = layers.UpSampling2D(interpolation="bilinear")(layers.LayerNormalization()(values))
    values = layers.GaussianNoise(0.1)(layers.Reshape((-1, 6))(values))
    values = layers.MultiHeadAttention(2, 3)(values, values)
    return layers.Dense(3, activation=tf.nn.softmax)(layers.GlobalAveragePooling1D()(values))


def teachable():
    """As Teachable Machine exports: a Sequential of two, the first with a functional network, frozen up to a layer."""
    base = functional(lambda image: image)
    base = keras.Model(base.input, base.layers[-3].output)
    base.trainable = False
    base.layers[-1].trainable = True
    features = keras.Sequential([base, layers.GlobalAveragePooling2D()])
    top = keras.Sequential(
        [layers.Dense(5, activation="relu", input_shape=(4,)), layers.Dense(2, activation="softmax", use_bias=False)]
    )
    model = keras.Sequential([features, top])
    model.build((None, SIZE, SIZE, 3))
    return model


def nested():
    """Augmentation and preprocessing before a model that is called as a layer, as in the guide to transfer learning."""
    base = functional(lambda image: image)
    base = keras.Model(base.input, base.layers[-3].output)
    image = keras.Input((SIZE, SIZE, 3))
    values = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.2)])(image)
    values = base(applications.mobilenet_v2.preprocess_input(values), training=False)
    return keras.Model(image, head(layers.Dropout(0.2)(values)))


def twice():
    """One layer, and one model, called twice."""
    image = keras.Input((SIZE, SIZE, 3))
    convolution = layers.Conv2D(3, 3, padding="same")
    values = convolution(convolution(image / 255.0))
    small = keras.Sequential([layers.Conv2D(3, 1, input_shape=(SIZE, SIZE, 3)), layers.BatchNormalization()])
    return keras.Model(image, head(small(values) + small(small(image / 100.0))))


def image_model(build):
    image = keras.Input((SIZE, SIZE, 3))
    return keras.Model(image, build(image))


MODELS = {
    "caffe": lambda: functional(applications.resnet50.preprocess_input),
    "torch": lambda: functional(applications.densenet.preprocess_input),
    "tf": lambda: functional(applications.mobilenet_v2.preprocess_input),
    "operations": lambda: functional(operations),
    "misc": lambda: image_model(misc),
    "teachable": teachable,
    "nested": nested,
    "twice": twice,
    "sigmoid": lambda: functional(lambda image: tf.subtract(1.0, image / 255.0), units=1, activation="sigmoid"),
    "sequence": lambda: keras.Sequential(
        [layers.Conv2D(4, 3, input_shape=(SIZE, SIZE, 1)), layers.Flatten(), layers.Dense(3, activation="softmax")]
    ),
}


def shaken(model):
    """Return a model with weights that are neither symmetric nor what layers begin with."""
    random = np.random.default_rng(3)
    for weight in model.weights:
        value = weight.numpy()
        if value.dtype.kind == "f":
            change = random.normal(size=value.shape) * (np.abs(value).mean() or 1)
            weight.assign(np.abs(value + 0.2 * change) if "variance" in weight.name else value + 0.3 * change)
    return model


def main() -> None:
    """Write all models."""
    for name, build in MODELS.items():
        keras.utils.set_random_seed(1)
        model = shaken(build())
        answers = model.predict(pixels(model.input_shape[-1]).astype(np.float32), verbose=0)
        path = HERE / f"{name}.h5"
        model.save(path)
        with h5py.File(path) as file:
            group = file["model_weights"]
            weights = {
                f"{layer}|{weight}": group[layer][weight][()]
                for layer in group.attrs["layer_names"]
                for weight in group[layer].attrs["weight_names"]
            }
            config = json.loads(file.attrs["model_config"])
            document = {
                "config": config,
                "layers": [*group.attrs["layer_names"]],
                "version": file.attrs["keras_version"],
            }
        path.unlink()
        np.savez_compressed(HERE / f"{name}.npz", document=json.dumps(document), answers=answers, **weights)
        print(name, np.ptp(answers, axis=0).max(), (HERE / f"{name}.npz").stat().st_size)  # noqa: T201
        if name == "nested":
            model.save(HERE / "nested.keras")
            pack(HERE / "nested.keras")


def pack(path: Path) -> None:
    """Compress the members of a zip, which tf.keras does not."""
    content = io.BytesIO(path.read_bytes())
    with (
        zipfile.ZipFile(content) as archive,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
    ):
        for name in archive.namelist():
            packed.writestr(zipfile.ZipInfo(name), archive.read(name), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
