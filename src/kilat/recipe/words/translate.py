"""Translate a recipe that was written in the words of another library, and say at which places it was.

Only recipes that were refused come here: what a recipe says in its own words is never read otherwise.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kilat.recipe.network import KINDS
from kilat.recipe.option_tree import option_names, option_paths
from kilat.recipe.put_option import NoPlaceError, put_option
from kilat.recipe.renamed import renamed_sentence
from kilat.recipe.sections import Recipe
from kilat.recipe.words.build_part import build_part
from kilat.recipe.words.call import Call, as_call
from kilat.recipe.words.layer_words import ACTIVATIONS, LAYERS, separable
from kilat.recipe.words.lookup import (
    Path,
    converted,
    find_part,
    find_word,
    own_option,
    own_part,
    own_path,
    parameters_at,
    place_of_parts,
)
from kilat.recipe.words.option_words import CONTAINERS, OPTIONS
from kilat.recipe.words.part_words import AUGMENTATION, PARTS
from kilat.recipe.words.value_words import spelled
from kilat.recipe.words.word import Part, Word, normal
from kilat.recipe.written import read_value

_UNSPACED = re.compile(r"(\w+)(?:\s*=\s*|:)([\w.-]+)")
"""An option as in Python, or without the blank after its colon, where YAML sees nothing but text."""

_LONGEST_OPTIONS = 1_000
"""Characters of a text that may be such options."""


@dataclass(frozen=True)
class Change:
    """A place of a recipe with words of another library, and what is written instead.

    Args:
        given: the path of the place.
        options: the paths of the options that say it, in the translated recipe; none where it is left out.
        notes: sentences about what differs, not translated yet.
        of_name: whether it is the name at the place, and not the value, that is another library's.
        layers: those that belong into the list of layers, wherever they were given.
        values: of options, by their paths, that were given elsewhere than at their place.
    """

    given: Path
    options: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    of_name: bool = False
    layers: tuple[Any, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def translate(document: Mapping[str, Any], sections: Sequence[str]) -> tuple[dict[str, Any], list[Change]]:
    """Return a recipe in kilat's words, and where it was not.

    Args:
        document: the recipe as given.
        sections: those that count in it, which a word that several sections know is looked for in first.
    """
    translation = _Translation(sections)
    translated = translation.options(document, ())
    translation.put_into(translated)
    return translated, translation.changes


def translate_option(key: str, value: Any, sections: Sequence[str]) -> tuple[Change, list[tuple[str, Any]]] | None:
    """Return what an option of another library is: the change, and each option with its value; None for an unknown one.

    Args:
        key: its path, or the end of one.
        value: as given.
        sections: those that count.
    """
    *parents, leaf = key.split(".")
    parents = own_path(".".join(parents)).split(".") if parents else []
    inside = tuple(parents) if parents and parents[0] in Recipe.model_fields else ()
    translation = _Translation(sections)
    if not translation.foreign(leaf, value, inside, tuple(key.split("."))):
        return None
    changes = translation.changes
    options = (option for change in changes for option in change.options)
    notes = (note for change in changes for note in change.notes)
    layers = tuple(layer for change in changes for layer in change.layers)
    given = tuple(key.split("."))
    whole = Change(given, tuple(dict.fromkeys(options)), tuple(dict.fromkeys(notes)), of_name=True, layers=layers)
    return whole, translation.later


class _Translation:
    """What has been translated so far.

    Args:
        sections: those that count.
    """

    def __init__(self, sections: Sequence[str]) -> None:
        self.sections = sections
        self.changes: list[Change] = []
        self.later: list[tuple[str, Any]] = []

    def put_into(self, document: dict[str, Any]) -> None:
        """Put options that were given elsewhere where they belong, whole groups first."""
        for path, value in sorted(self.later, key=lambda item: (item[0].count("."), not item[0].endswith(".name"))):
            with suppress(NoPlaceError):
                put_option(document, path, value)
        optimizer = (document.get("fit") or {}).get("optimizer") if isinstance(document.get("fit"), Mapping) else None
        if optimizer is not None and self.later:  # SGD with momentum has a name of its own
            before = len(self.changes)
            document["fit"]["optimizer"] = self.value(optimizer, ("fit", "optimizer"))
            del self.changes[before:]

    def options(self, given: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Return the options of a section; those that belong elsewhere are left to ``put_into``."""
        known = list(Recipe.model_fields) if not path else [*option_names(path), "name"]
        translated = {}
        for key, value in given.items():
            if key in known:
                translated[key] = self.value(value, (*path, key))
            elif not self.foreign(str(key), value, path, (*path, str(key))):
                translated[key] = value
        return translated

    def value(self, given: Any, path: Path) -> Any:
        """Return the value of an option."""
        if path == ("model",) and isinstance(given, str | list):
            return self._network(given)
        if path == ("augment",) and isinstance(given, list) and self._container(given, path):
            return {}
        if path == ("data",) and isinstance(given, str):
            self._change(path, [], [OPTIONS["dataset"].note])
            return {}
        if path[-1] == "layers" and isinstance(given, Mapping | list):
            return self._layers(given, path)
        if (place := place_of_parts(path)) and (found := self._part_at(place, given, path)) is not None:
            return found
        return self._group(given, path) if isinstance(given, Mapping) else self._single(given, path)

    def _group(self, given: Mapping[str, Any], path: Path) -> Any:
        """Return a group of options, or the value that was written as one."""
        if path[-1] == "normalisation" and (own := {own_path(str(kind)): given[kind] for kind in given}) != given:
            self._change(path, [], options=[".".join(path)])
            return own
        inside = (*path, str(given.get("name"))) if path == ("fit", "schedule") else path
        if option_names(inside):
            return self.options(given, inside)
        call = as_call(given)  # {class_name: HeNormal, config: …}
        return self._single(call.name, path) if call and spelled(call.name, path) != call.name else given

    def _network(self, given: str | list[Any]) -> Any:
        """Return the section of a network that was given as the name of a backbone, or as layers alone."""
        before = len(self.changes)
        if isinstance(given, str) and (call := as_call(given)) and call.given:  # Sequential([…])
            given = call.given[0] if isinstance(call.given[0], list) else list(call.given)
        if isinstance(given, str):
            self._change(("model",), [("features.backbone", given)])
            return None
        layers = self.value(given, ("model", "layers"))
        self._change(("model",), [], options=["model.layers"], absorb=before)
        return {"layers": layers}

    def _layers(self, given: Mapping[str, Any] | list[Any], path: Path) -> list[Any]:
        before = len(self.changes)
        is_list = isinstance(given, list)
        items = given if isinstance(given, list) else [{kind: options} for kind, options in given.items()]
        layers = [self.layer(item, (*path, str(number))) for number, item in enumerate(items)]
        if not is_list:
            self._change(path, [], options=[".".join(path)], absorb=before)
        return layers

    def _single(self, given: Any, path: Path) -> Any:
        """Return the value of an option that is neither a group nor a list."""
        before = len(self.changes)
        is_short = isinstance(given, str) and len(given) <= _LONGEST_OPTIONS
        if is_short and option_names(path) and (pairs := _UNSPACED.findall(given)):
            options = self.options({name: _yaml_or_text(value) for name, value in pairs}, path)
            self._change(path, [], options=[".".join((*path, name)) for name in options], absorb=before)
            return options
        own = spelled(given, path)
        if own != given:
            self._change(path, [], options=[".".join(path)])
        return own

    def layer(self, given: Any, path: Path) -> Any:
        """Return a layer, or what takes its place in the list."""
        call = as_call(given)
        if call is None:
            return given
        if call.name in KINDS and (given == call.name or list(given) == [call.name]):
            return self._own_layer(call.name, given, path)
        part = find_part({**LAYERS, **ACTIVATIONS, **AUGMENTATION}, call.name) or own_part(call.name)
        if part is None:
            return given
        before, built = len(self.changes), build_part(part, call)
        if part.place == "layer":
            (kind,) = part.base
            is_elsewhere = kind == "rescale" and not built.options
            layers = [] if is_elsewhere else [{kind: self.options(built.options, (*path, kind))}]
        elif part.place == "activation":
            layers = [{"activation": built.short}]
        elif part.place == "separable":
            layers = separable(self.options(built.options, (*path, "conv")))
        else:
            layers = []
        here = [".".join(path)] if layers else []
        self._change(path, self._placed(built.elsewhere), built.notes, options=here, absorb=before)
        return _short_layer(layers[0]) if len(layers) == 1 else _in_place_of_one(map(_short_layer, layers))

    def foreign(self, key: str, value: Any, inside: Path, where: Path) -> bool:
        """Translate what stands under a name that a section does not know; return whether that was possible.

        Args:
            key: the name.
            value: what stands under it.
            inside: the path of the section.
            where: the path of the place in the recipe as given.
        """
        if renamed_sentence(".".join(where)):
            return False
        before, is_near_top = len(self.changes), len(inside) < 2
        if word := self._word(key, inside):
            pairs = self._placed(converted(word, value), inside)
            pairs = [(path, self.value(one, tuple(path.split(".")))) for path, one in pairs]
            self._change(where, pairs, [word.note], absorb=before, of_name=True)
            return True
        is_layer = key.rpartition(".")[2] in LAYERS and key not in PARTS
        if is_near_top and not is_layer and (part := find_part(PARTS, key)):
            self._part_elsewhere(part, as_call({key: value}) or Call(key), where)
            return True
        if normal(key) in CONTAINERS:
            return self._container(value, where)
        return is_near_top and self._stray_layer(key, value, where)

    def _word(self, key: str, inside: Path) -> Word | None:
        """Return the word for an option that a section does not know; None for an unknown one."""
        word = find_word(parameters_at(inside), key)
        if word or (key in PARTS and key not in OPTIONS):  # Resize is a part, resize an option
            return word
        general = find_word(OPTIONS, key) or self._own_option(key, inside)
        # A group of options takes only words for its own: a word elsewhere may be another thing of the same name.
        is_here = general is not None and any(option in option_names(inside) for option in general.to)
        return general if is_here or len(inside) < 2 else None

    def _own_option(self, key: str, inside: Path) -> Word | None:
        """Return the word for one of kilat's own options that stands beside its section.

        Deep inside of another section it may be another thing of the same name, as ``alpha`` is.
        """
        word = own_option(key)
        if word is None or not inside:
            return word
        path = self._path_of(word.to[0], inside)
        return word if path.count(".") == 1 or path.startswith(f"{inside[0]}.") else None

    def _stray_layer(self, key: str, value: Any, where: Path) -> bool:
        """Translate a layer that stands outside of the list of layers; return whether it is one."""
        table = {**LAYERS, **ACTIVATIONS}
        part = find_part(table, key)
        if key not in KINDS and (part is None or (part.place != "layer" and key.rpartition(".")[2] not in table)):
            return False
        before = len(self.changes)
        given = {key: value} if key in KINDS else as_call({key: value}) or Call(key)
        layer = self.layer(given, ("model", "layers", "0"))
        notes = tuple(note for change in self.changes[before:] for note in change.notes)
        del self.changes[before:]
        layers = () if is_in_place_of_one(layer) and not layer["repeat"]["layers"] else (layer,)
        self.changes.append(Change(where, (), notes, of_name=True, layers=layers))
        return True

    def _own_layer(self, kind: str, given: Any, path: Path) -> Any:
        inside = given[kind] if isinstance(given, Mapping) else None
        if inside is None:
            return kind
        if isinstance(inside, list) and kind == "residual":
            return {kind: self.value(inside, (*path, kind, "layers"))}
        if kind == "activation" and not (isinstance(inside, Mapping) and "function" in inside):
            return {kind: self.value(inside, (*path, kind, "function"))}
        if isinstance(inside, Mapping):
            return {kind: self.options(inside, (*path, kind))}
        main = KINDS[kind].main
        return given if not main else {kind: self.value(inside, (*path, kind, main))}

    def _part_at(self, place: str, given: Any, path: Path) -> Any:
        """Return the part that was written at its own place; None where none was."""
        call = as_call(given)
        part = None if call is None else find_part(ACTIVATIONS if place == "activation" else PARTS, call.name)
        if call is None or part is None or part.place != place:
            return None
        built = build_part(part, call)
        if not built.elsewhere and built.options == ({"name": given} if isinstance(given, str) else given):
            return given
        self._change(path, self._placed(built.elsewhere), built.notes, options=[".".join(path)])
        return built.short

    def _part_elsewhere(self, part: Part, call: Call, where: Path) -> None:
        built = build_part(part, call)
        own = [(part.place, built.short)] if part.place else []
        self._change(where, [*own, *self._placed(built.elsewhere)], built.notes, of_name=True)

    def _container(self, given: Any, where: Path) -> bool:
        """Translate what stands in a group that a recipe does not have; return whether all of it could be."""
        if isinstance(given, Mapping):
            done = [self.foreign(str(key), value, (), (*where, str(key))) for key, value in given.items()]
            return all(done)
        if isinstance(given, str):
            given = [given]
        if not isinstance(given, list):
            return False
        understood = True
        for number, item in enumerate(given):
            call = as_call(item)
            part = None if call is None else find_part(PARTS, call.name)
            if call is not None and normal(call.name) in CONTAINERS:  # Compose([…])
                inner = call.given[0] if len(call.given) == 1 else list(call.given)
                understood &= self._container(inner, (*where, str(number)))
            elif call is None or part is None:
                understood = False
            else:
                self._part_elsewhere(part, call, (*where, str(number)))
        return understood

    def _change(
        self,
        given: Path,
        pairs: Sequence[tuple[str, Any]],
        notes: Iterable[str] = (),
        *,
        options: Iterable[str] = (),
        absorb: int | None = None,
        of_name: bool = False,
    ) -> None:
        """Record a change; those that were recorded since ``absorb`` are parts of it."""
        inner = [] if absorb is None else self.changes[absorb:]
        if absorb is not None:
            del self.changes[absorb:]
        self.later += pairs
        values = {path: value for change in inner for path, value in change.values.items()} | dict(pairs)
        every = [*options, *(path for path, _value in pairs)]
        every += [path for change in inner for path in change.options if not path.startswith(tuple(every) or ("\0",))]
        said = [*notes, *(note for change in inner for note in change.notes)]
        notes = tuple(dict.fromkeys(filter(None, said)))
        self.changes.append(Change(given, tuple(dict.fromkeys(every)), notes, of_name, values=values))

    def _placed(self, options: Iterable[tuple[str, Any]], inside: Path = ()) -> list[tuple[str, Any]]:
        """Return options by their path: in the section itself, or the shallowest in the sections that count."""
        return [(self._path_of(option, inside), value) for option, value in options]

    def _path_of(self, option: str, inside: Path) -> str:
        if "." in option:
            return option
        if option in option_names(inside):
            return ".".join((*inside, option))
        for sections in (self.sections, Recipe.model_fields):
            matches = [path for path in option_paths(sections) if path.endswith(f".{option}")]
            if matches:
                return min(matches, key=lambda path: path.count("."))
        return option


def _yaml_or_text(written: str) -> Any:
    with suppress(ValueError):
        return read_value(written)
    return written


def _short_layer(layer: dict[str, Any]) -> Any:
    """Return a layer as short as it can be written."""
    ((kind, options),) = layer.items()
    if not options:
        return kind
    main = KINDS[kind].main
    return {kind: options[main]} if isinstance(options, dict) and list(options) == [main] else layer


def _in_place_of_one(layers: Iterable[Any]) -> dict[str, Any]:
    """Return any number of layers as one, so that the others of the list keep their numbers."""
    return {"repeat": {"times": 1, "layers": list(layers)}}


def is_in_place_of_one(layer: Any) -> bool:
    """Return whether a layer of a translated recipe stands for any number of them, which were one."""
    return isinstance(layer, Mapping) and isinstance(layer.get("repeat"), Mapping) and layer["repeat"].get("times") == 1
