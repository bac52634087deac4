"""Single options put into a recipe's document: by their path, or by the end of it where only one option has it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kilat.errors import RecipeError, nearest
from kilat.locale import N_, _
from kilat.locale.escapes import shell_word
from kilat.locale.excerpt import shortened
from kilat.recipe.fit import Fit
from kilat.recipe.network import Network, kind_of
from kilat.recipe.option_tree import is_null, is_option, option_paths
from kilat.recipe.put_option import NoPlaceError, number_of, put_option
from kilat.recipe.renamed import renamed_sentence
from kilat.recipe.sections import Recipe
from kilat.recipe.words.instead import as_yaml, override_to_write
from kilat.recipe.words.lookup import layer_option, own_path
from kilat.recipe.words.translate import Change, translate_option

_MAX_OVERRIDES = 1_000

_LONGEST_PATH = 400
"""Characters; an option's own path has at most a quarter of them."""

_FOR_TRAINED = N_(
    "only for networks that are trained; this recipe fits a head on a frozen backbone. Unfreeze the backbone "
    "(fit.unfreeze=all), take the preset best, or a recipe with a section model, such as vgg-cifar."
)
_FOR_FROZEN = N_("only for frozen backbones; this recipe trains the network of its section model.")


def apply_overrides(document: dict[str, Any], overrides: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Put options into a document.

    Whole groups come before their members, and names before the rest, so that no option is taken for one of what stood
    there before.

    Returns:
        The path of every option by the key that it was given by; and what is wrong with those that have no place.

    Raises:
        RecipeError: there are more than anyone gives.
    """
    if len(overrides) > _MAX_OVERRIDES:
        sentence = _("{count:,} options were given beside the recipe; at most {most:,} are read.")
        raise RecipeError(sentence.format(count=len(overrides), most=_MAX_OVERRIDES))
    problems, paths = [], {}
    sections = sections_that_count(document, overrides)
    for key, value in overrides.items():
        try:
            paths[key] = _full_path(key, value, sections, document)
        except NoPlaceError as problem:
            problems.append(f"{shortened(key)}: {problem}")
    for key, path in sorted(paths.items(), key=lambda item: (item[1].count("."), not item[1].endswith(".name"))):
        try:
            put_option(document, path, None if is_null(path, overrides[key]) else overrides[key])
        except NoPlaceError as problem:
            problems.append(f"{shortened(key)}: {problem}")
    return paths, problems


def sections_that_count(document: Mapping[str, Any], overrides: Iterable[str] = ()) -> Sequence[str]:
    """Return the sections of a trained network, of a frozen backbone, or of one that is unfrozen."""
    model = document.get("model")  # the name of a backbone is no network of layers
    is_trained = not isinstance(model, str | None) or any(key.partition(".")[0] == "model" for key in overrides)
    fit = Fit.model_construct(unfreeze="all") if "fit" in document else Fit()
    return Recipe.model_construct(model=Network.model_construct() if is_trained else None, fit=fit).sections


def unfreezes(overrides: dict[str, Any], document: dict[str, Any]) -> bool:
    """Return whether options unfreeze a backbone whose recipe leaves it frozen: the rest is then as in fine-tuning."""
    is_unfrozen = any(overrides.get(key) for key in ("unfreeze", "fit.unfreeze", "phases", "fit.phases"))
    return is_unfrozen and not document.keys() & {"fit", "augment", "model"}


def _full_path(key: str, value: Any, sections: Sequence[str], document: Mapping[str, Any]) -> str:
    """Return the path of an option; the end of one is searched in the sections that count, the shallowest first."""
    if len(key) > _LONGEST_PATH:
        raise NoPlaceError(_("unknown option."))
    if key.partition(".")[0] in Recipe.model_fields:
        is_own = own_path(key) == key and is_option(key)
        if not is_own and (instead := _in_own_words(key, value, sections)):
            raise NoPlaceError(instead)
        if of_layer := _of_layer(key, value, document):
            raise NoPlaceError(of_layer)
        return key  # what is wrong with the rest of it, the check of the whole document says
    matches = [path for path in option_paths(sections) if path.endswith(f".{key}")]
    depth = min((path.count(".") for path in matches), default=0)
    matches = [path for path in matches if path.count(".") == depth]
    if len(matches) == 1:
        return matches[0]
    if matches:
        message = _("several options have this name; write one in full: {options}")
        full = (f"--set {shell_word(f'{path}={as_yaml(value)}')}" for path in matches)
        raise NoPlaceError(message.format(options=_(" or ").join(full)))
    every = option_paths(Recipe.model_fields)
    if any(path.endswith(f".{key}") for path in every):
        raise NoPlaceError(_(_FOR_FROZEN if "model" in sections else _FOR_TRAINED))
    if renamed := renamed_sentence(key):
        raise NoPlaceError(renamed)
    if instead := _of_layer(key, value, document) or _in_own_words(key, value, sections):
        raise NoPlaceError(instead)
    names = every if "." in key else [path.rpartition(".")[2] for path in (*option_paths(sections), *every)]
    raise NoPlaceError(f"{_('unknown option.')} {nearest(key, dict.fromkeys((*names, *Recipe.model_fields)))}")


def _in_own_words(key: str, value: Any, sections: Sequence[str]) -> str:
    """Return what to write instead of another library's word; nothing where the word is unknown."""
    found = translate_option(key, value, sections)
    if found is None:
        return ""
    change, values = found
    sentence = override_to_write(change, values)
    if all(path.partition(".")[0] in sections for path, _value in values):
        return sentence
    reason = _(_FOR_FROZEN if "model" in sections else _FOR_TRAINED)
    return _("{sentence}, which is {reason}").format(sentence=sentence, reason=reason)


def _of_layer(key: str, value: Any, document: Mapping[str, Any]) -> str:
    """Return what to write for an option of a layer that is given without its kind, or without its place in the list.

    Args:
        key: the name of the option, or its path from the number of the layer on.
        value: as given.
        document: the recipe.
    """
    *parents, leaf = key.split(".")
    model = document.get("model")
    layers = model.get("layers") if isinstance(model, Mapping) else None
    if (
        not isinstance(layers, list | tuple)
        or parents[:2] not in ([], ["model", "layers"])
        or len(parents) not in (0, 3)
    ):
        return ""
    wanted = number_of(parents[2]) if parents else None
    numbers = range(len(layers)) if not parents else [] if wanted is None else [wanted]
    for number in numbers:
        kind = kind_of(layers[number]) if number < len(layers) else None
        if kind and leaf != kind and (option := layer_option(kind, leaf, value)):
            sentence = override_to_write(Change(()), [(f"model.layers.{number}.{kind}.{option[0]}", option[1])])
            return sentence if parents else _("{sentence} (or of another layer)").format(sentence=sentence)
    return ""
