"""The glossary: the field's words as kilat uses them, each with what it means, in the language of the environment.

``kilat glossary`` prints it; errors and notes name the words in them that it explains, pages end with those, and the
course has all of them.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from kilat.locale import N_, _


class Term(NamedTuple):
    """A word of the field.

    Args:
        name: in English, as it stands in sentences.
        meaning: one or two sentences that a student understands.
        others: other forms and names, in English.
        is_plain: whether it is so common that no error or note explains it.
    """

    name: str
    meaning: str
    others: tuple[str, ...] = ()
    is_plain: bool = False


GLOSSARY: dict[str, Term] = {
    "accuracy": Term(N_("accuracy"), N_("The share of pictures that are answered rightly."), (), True),
    "activation_function": Term(
        N_("activation function"),
        N_(
            "What a layer does with each number that it has computed, such as ReLU, max(0, x). Without one, layers in "
            "a row "
            "could do no more than a single one."
        ),
        (N_("activation"),),
    ),
    "augmentation": Term(
        N_("augmentation"),
        N_(
            "Changing training pictures a little at every epoch (shifted, turned, mirrored, brighter) so that the "
            "network "
            "learns what does not matter. It must not change what a picture shows."
        ),
    ),
    "backbone": Term(
        N_("backbone"),
        N_(
            "The part of a network that turns a picture into features, mostly pretrained on millions of other pictures."
        ),
    ),
    "balanced_accuracy": Term(
        N_("balanced accuracy"),
        N_("The mean over the classes of how many of their pictures are found: every class counts the same."),
    ),
    "batch": Term(N_("batch"), N_("The pictures that one step of training looks at together."), (), True),
    "batch_norm": Term(
        N_("batch norm"),
        N_(
            "A layer that gives each channel mean 0 and variance 1 over the batch, then scales and shifts it. "
            "Answering, it "
            "uses running statistics of training, which need some hundred steps to settle."
        ),
        (N_("batch normalisation"),),
    ),
    "calibration": Term(
        N_("calibration"),
        N_("That probabilities mean what they say: of the answers with 80%, eight in ten are right."),
    ),
    "calibration_set": Term(
        N_("calibration set"),
        N_("Pictures that were not trained on, from which temperature, prediction sets and thresholds are fitted."),
    ),
    "class": Term(N_("class"), N_("One of the answers that the classifier can give."), (N_("classes"),), True),
    "confidence_interval": Term(
        N_("confidence interval"),
        N_(
            "A range computed from the pictures at hand. Of many such 95% intervals, 95 in 100 hold the value that all "
            "pictures there are would give."
        ),
        (N_("95% interval"),),
    ),
    "conformal": Term(
        N_("conformal prediction"),
        N_("A way to choose prediction sets that hold the true class as often as is asked, whatever the network."),
        (N_("conformal"),),
    ),
    "confusion_matrix": Term(
        N_("confusion matrix"),
        N_(
            "A table that counts, for every true class, how often each class was answered. Right answers are its "
            "diagonal."
        ),
    ),
    "convolution": Term(
        N_("convolution"),
        N_(
            "A small window of weights that slides over the picture and gives one number at each place; the same "
            "weights everywhere."
        ),
        (N_("convolutional"),),
    ),
    "coverage": Term(N_("coverage"), N_("How often prediction sets contain the true class.")),
    "cross_entropy": Term(
        N_("cross-entropy"),
        N_("The usual loss: minus the logarithm of the probability that the true class was given."),
    ),
    "cross_validation": Term(
        N_("cross-validation"),
        N_("The pictures are dealt into folds; each fold is answered by a classifier that was trained on the others."),
        (N_("fold"), N_("folds"), N_("out-of-fold")),
    ),
    "dead_unit": Term(
        N_("dead unit"),
        N_("A ReLU that gives 0 for every picture. Its gradient is 0 as well, so it does not come back."),
        (N_("dead units"), N_("dying ReLU")),
    ),
    "drift": Term(N_("drift"), N_("That new pictures no longer look like those that the model was made for.")),
    "dropout": Term(
        N_("dropout"),
        N_(
            "Sets a random share of a layer's values to zero at each step of training, so that no unit can rely on "
            "another."
        ),
    ),
    "early_stopping": Term(
        N_("early stopping"),
        N_("Ends training when the validation set has not got better for some epochs, and keeps the best weights."),
    ),
    "ece": Term(
        N_("calibration error"),
        N_("How far a probability is, on average, from the share of answers that were right with it; 0 is perfect."),
        (N_("ECE"),),
    ),
    "embedding": Term(
        N_("embedding"),
        N_(
            "A picture as a short row of numbers. Pictures that look alike to the network have embeddings that are "
            "near each other."
        ),
        (N_("embeddings"),),
    ),
    "epoch": Term(N_("epoch"), N_("One pass of training over all training pictures."), (N_("epochs"),), True),
    "f1": Term(N_("F1"), N_("The harmonic mean of precision and recall."), (N_("F1 score"),)),
    "false_positive_rate": Term(
        N_("false-positive rate"),
        N_("How often something ordinary is flagged, such as a picture of a known class that is called unknown."),
    ),
    "feature": Term(
        N_("feature"),
        N_("A number that a network computes from a picture, such as how much of it is a rounded edge."),
        (N_("features"),),
    ),
    "feature_map": Term(
        N_("feature map"),
        N_("What one filter of a convolution gives at every place of the picture."),
        (N_("feature maps"),),
    ),
    "filter": Term(
        N_("filter"),
        N_("The weights of a convolution that make one feature map; each filter looks for one pattern."),
        (N_("filters"), N_("kernel"), N_("kernels")),
    ),
    "fine_tuning": Term(
        N_("fine-tuning"),
        N_("Training a pretrained backbone further on one's own pictures, with a small learning rate."),
        (N_("fine-tune"), N_("fine-tuned")),
    ),
    "frozen": Term(N_("frozen"), N_("Not changed by training: a frozen backbone keeps its pretrained weights.")),
    "gradient": Term(
        N_("gradient"),
        N_("How the loss would change if each weight grew a little. Training steps against it."),
        (N_("gradients"),),
    ),
    "head": Term(N_("head"), N_("The last part of a network, which turns features into classes.")),
    "initialisation": Term(
        N_("initialisation"),
        N_(
            "The random numbers that weights begin with. Too large or too small, and the signal explodes or dies on "
            "its way."
        ),
    ),
    "l2": Term(
        N_("L2 penalty"),
        N_("Adds the sum of squared weights to the loss, which keeps weights small."),
        (N_("L1 penalty"), N_("weight decay"), N_("penalty")),
    ),
    "label_smoothing": Term(
        N_("label smoothing"),
        N_(
            "Trains towards, say, 90% for the true class instead of 100%, so that the network does not become too sure."
        ),
    ),
    "leak": Term(
        N_("leak"),
        N_("A test picture, or nearly the same one, that was trained on. The test then measures memory."),
        (N_("leaks"), N_("leakage"), N_("leaked")),
    ),
    "learning_rate": Term(
        N_("learning rate"),
        N_("How far a step of training goes. Too large and the loss jumps; too small and it hardly falls."),
    ),
    "log_loss": Term(
        N_("log loss"),
        N_(
            "Minus the logarithm of the probability that the true class was given, averaged: 0 is perfect, and a sure "
            "answer "
            "that is wrong costs most."
        ),
    ),
    "logits": Term(N_("logits"), N_("The numbers that a network gives before the softmax makes them probabilities.")),
    "loss": Term(N_("loss"), N_("The number that training makes smaller."), (), True),
    "macs": Term(
        N_("multiply-adds"),
        N_("How many multiplications with an addition a network does for one picture: a measure of its work."),
        (N_("MACs"),),
    ),
    "near_duplicate": Term(
        N_("near-duplicate"),
        N_("Nearly the same picture: saved again, resized, cropped a little, mirrored or brightened."),
        (N_("near-duplicates"),),
    ),
    "normalisation": Term(
        N_("normalisation"),
        N_("Bringing numbers to one scale: pixels before the network, or values between its layers."),
    ),
    "one_hot": Term(
        N_("one-hot"),
        N_("A label as a row of zeros with a 1 at the place of its class."),
    ),
    "optimizer": Term(
        N_("optimizer"),
        N_("The rule that turns gradients into steps, such as SGD with momentum, or Adam."),
        (N_("optimizers"),),
    ),
    "out_of_distribution": Term(
        N_("out of distribution"),
        N_("A picture unlike all training pictures, for which no class can be answered in earnest."),
        (N_("out-of-distribution"),),
    ),
    "overfitting": Term(
        N_("overfitting"),
        N_("Learning the training pictures by heart: they are answered ever better, new ones are not."),
        (N_("overfits"),),
    ),
    "p_value": Term(
        N_("p-value"),
        N_("How often chance alone would give a difference as large as this one, if there were none."),
    ),
    "padding": Term(
        N_("padding"),
        N_("Zeros around the picture, so that a convolution reaches its border and the map keeps its size."),
    ),
    "pooling": Term(
        N_("pooling"),
        N_(
            "Takes the largest value, or the mean, of each small window: the map shrinks, and small shifts matter less."
        ),
    ),
    "precision": Term(N_("precision"), N_("Of a class: the share of the answers with this class that are right.")),
    "prediction_set": Term(
        N_("prediction set"),
        N_("All classes that cannot be ruled out. It holds the true class as often as the coverage says."),
        (N_("prediction sets"),),
    ),
    "pretrained": Term(N_("pretrained"), N_("With weights from training on other pictures, mostly those of ImageNet.")),
    "recall": Term(N_("recall"), N_("Of a class: the share of its pictures that are found.")),
    "receptive_field": Term(
        N_("receptive field"),
        N_("The part of the picture that one number of a feature map depends on. It grows with each layer."),
    ),
    "recipe": Term(
        N_("recipe"), N_("One file with every choice of a training: data, augmentation, network, fit."), (), True
    ),
    "regularisation": Term(
        N_("regularisation"),
        N_("What keeps a network from overfitting: dropout, penalties on weights, augmentation, early stopping."),
    ),
    "residual_block": Term(
        N_("residual block"),
        N_("Layers whose output is added to their input, so that gradients reach the first layers of a deep network."),
        (N_("residual"), N_("residual blocks")),
    ),
    "schedule": Term(N_("schedule"), N_("How the learning rate changes while training goes on.")),
    "seed": Term(
        N_("seed"),
        N_("The number from which everything random is drawn: same seed, same result."),
        (N_("seeds"),),
        True,
    ),
    "shortcut": Term(
        N_("shortcut"),
        N_("Something beside the subject that gives the label away, such as a border, a file size or a camera."),
        (N_("shortcuts"),),
    ),
    "stride": Term(N_("stride"), N_("How many pixels a window moves at a time: 2 halves the map.")),
    "suspected_label": Term(
        N_("suspected label"),
        N_("A label that is probably wrong: classifiers that were not trained on the picture answer otherwise."),
        (N_("suspected labels"),),
    ),
    "temperature": Term(
        N_("temperature"),
        N_(
            "What the network's outputs are divided by before they become probabilities: above 1 answers get less "
            "sure. It "
            "never changes which class is likeliest."
        ),
    ),
    "test_set": Term(
        N_("test set"),
        N_("Pictures that are looked at once, at the end, and decide nothing."),
        (N_("test pictures"), N_("test picture")),
    ),
    "training_set": Term(
        N_("training set"),
        N_("Pictures that the weights are fitted on."),
        (N_("training pictures"), N_("training picture")),
        True,
    ),
    "transfer_learning": Term(
        N_("transfer learning"),
        N_("Using what a network learned on other pictures: its frozen features, or its weights as a start."),
    ),
    "validation_set": Term(
        N_("validation set"),
        N_("Pictures that are not trained on, by which choices are made: the epoch, the learning rate, the network."),
        (N_("validation pictures"), N_("validation")),
    ),
    "vanishing_gradient": Term(
        N_("vanishing gradient"),
        N_("A gradient that shrinks from layer to layer on its way back, so that the first layers hardly learn."),
        (N_("vanishing gradients"), N_("gradients vanish")),
    ),
    "weight_averaging": Term(
        N_("weight averaging"),
        N_("Answering with the mean of the weights of many steps, which is steadier than the last ones."),
    ),
    "weights": Term(N_("weights"), N_("The numbers of a network that training changes."), (), True),
    "z_score": Term(
        N_("z-score"),
        N_(
            "A value minus the mean, divided by the standard deviation: the result has mean 0 and standard deviation 1."
        ),
    ),
    "adaptive_ece": Term(
        N_("adaptive calibration error"),
        N_("The calibration error with as many answers in every bin."),
        (N_("adaptive ECE"),),
    ),
    "auroc": Term(
        N_("AUROC"),
        N_("How often an unknown picture gets a higher score than an ordinary one: 1 is perfect, 0.5 is guessing."),
    ),
    "brier": Term(
        N_("Brier score"),
        N_("The squared distance of the probabilities from the truth, 0 to 2: 0 is perfect."),
    ),
    "top_k": Term(N_("top-k accuracy"), N_("The share whose true class is among the k likeliest ones.")),
}
"""Every term by its key."""


def find_terms(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield where terms stand in a text of the language of the environment, each with its key.

    Of terms that overlap the longest counts: "calibration set" is no "calibration". Plain ones are left out, and so is
    what belongs to an option, a path or a quoted name, or is an abbreviation but for its capitals: a Mac is no MAC.
    """
    named = [(_(name), key) for key, term in GLOSSARY.items() for name in (term.name, *term.others)]
    keys = {name.casefold(): key for name, key in named}
    abbreviations = {name.casefold(): name for name, _key in named if name[1:] != name[1:].lower()}
    names = "|".join(re.escape(name) for name in sorted(keys, key=len, reverse=True))
    for match in re.finditer(rf"(?<![\w.'’“/=-])(?:{names})(?![\w'’”/=-])", text, re.IGNORECASE):
        found = match.group()
        key = keys[found.casefold()]
        if not GLOSSARY[key].is_plain and abbreviations.get(found.casefold(), found) == found:
            yield match, key


def look_up(name: str) -> str:
    """Return the key of a term by one of its names, in English or in the language of the environment; else nothing."""
    wanted = _plain(name)
    for key, term in GLOSSARY.items():
        if wanted in {_plain(key), *(_plain(one) for name in (term.name, *term.others) for one in (name, _(name)))}:
            return key
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
