"""Translate a recipe that was written in the words of another library, and say at which places it was.

Only recipes that were refused come here: what a recipe says in its own words is never read otherwise.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import yaml

from kilat.recipe.network import KINDS
from kilat.recipe.option_tree import option_names, option_paths
from kilat.recipe.put_option import NoPlaceError, put_option
from kilat.recipe.sections import Recipe
from kilat.recipe.words.call import Call, as_call
from kilat.recipe.words.layer_words import ACTIVATIONS, LAYERS, separable
from kilat.recipe.words.option_words import CONTAINERS, OPTIONS
from kilat.recipe.words.part_words import AUGMENTATION, PARTS, milestones
from kilat.recipe.words.value_words import spelled
from kilat.recipe.words.word import NOTHING, Part, Word, normal

Path = tuple[str, ...]

_UNSPACED = re.compile(r"(\w+)(?:\s*=\s*|:)([\w.-]+)")
"""An option as in Python, or without the blank after its colon, where YAML sees nothing but text."""


@dataclass(frozen=True)
class Change:
    """A place of a recipe with words of another library, and what is written instead.

    Args:
        given: the path of the place.
        options: the paths of the options that say it, in the translated recipe; none where it is left out.
        notes: sentences about what differs, not translated yet.
        of_name: whether it is the name at the place, and not the value, that is another library's.
    """

    given: Path
    options: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    of_name: bool = False


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
    *parents, leaf = own_path(key).split(".")
    inside = tuple(parents) if parents and parents[0] in Recipe.model_fields else ()
    translation = _Translation(sections)
    if not translation.foreign(leaf, value, inside, tuple(key.split("."))):
        return None
    (change,) = translation.changes
    return change, translation.later


def own_path(key: str) -> str:
    """Return the path of an option with kinds of layers in kilat's words: ``model.layers.0.Conv2D.filters``."""
    return ".".join(map(_own_kind, key.split(".")))


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
        if path[-1] == "layers" and isinstance(given, Mapping | list):
            return self._layers(given, path)
        if (place := _place(path)) and (found := self._part_at(place, given, path)) is not None:
            return found
        if isinstance(given, Mapping):
            name = given.get("name")
            inside = (*path, str(name)) if path == ("fit", "schedule") else path
            return self.options(given, inside) if option_names(inside) else given
        return self._single(given, path)

    def _network(self, given: str | list[Any]) -> Any:
        """Return the section of a network that was given as the name of a backbone, or as layers alone."""
        before = len(self.changes)
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
        if isinstance(given, str) and (pairs := _UNSPACED.findall(given)) and option_names(path):
            options = self.options({name: yaml.safe_load(value) for name, value in pairs}, path)
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
        part = _find({**LAYERS, **ACTIVATIONS, **AUGMENTATION}, call.name) or _own_part(call.name)
        if part is None:
            return given
        before = len(self.changes)
        options, elsewhere, notes = self._build(part, call, path)
        if part.place == "layer":
            (kind,) = part.base
            layers = [{kind: self.options(options, (*path, kind))}]
        elif part.place == "activation":
            layers = [{"activation": _short_named(options)}]
        elif part.place == "separable":
            layers = separable(self.options(options, (*path, "conv")))
        else:
            layers = []
        options_here = [".".join(path)] if layers else []
        self._change(path, elsewhere, notes, options=options_here, absorb=before)
        return _short_layer(layers[0]) if len(layers) == 1 else _in_place_of_one(map(_short_layer, layers))

    def foreign(self, key: str, value: Any, inside: Path, where: Path) -> bool:
        """Translate what stands under a name that a section does not know; return whether that was possible.

        Args:
            key: the name.
            value: what stands under it.
            inside: the path of the section.
            where: the path of the place in the recipe as given.
        """
        before = len(self.changes)
        word = _of_name(_parameters_at(inside), key)
        if word is None and (general := _of_name(OPTIONS, key) or self._own_option(key)):
            # A group of options takes only words for its own: a word elsewhere may be another thing of the same name.
            is_here = any(option in option_names(inside) for option in general.to)
            word = general if is_here or len(inside) < 2 else None
        if word is not None:
            pairs = [(self._place_of(option, inside), one) for option, one in _converted(word, value)]
            pairs = [(path, self.value(one, tuple(path.split(".")))) for path, one in pairs]
            self._change(where, pairs, [word.note], absorb=before, of_name=True)
            return True
        part = _find(PARTS, key) if len(inside) < 2 else None
        if part is not None:
            call = Call(key) if value is True else as_call({key: value})
            self._part_elsewhere(part, call or Call(key), where, before)
            return True
        if normal(key) in CONTAINERS:
            return self._container(value, where)
        return False

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
        table = ACTIVATIONS if place == "activation" else PARTS
        part = None if call is None else _find(table, call.name)
        if call is None or part is None or part.place != place:
            return None
        before = len(self.changes)
        options, elsewhere, notes = self._build(part, call, path)
        if options == ({"name": given} if isinstance(given, str) else given) and not elsewhere:
            return given
        self._change(path, elsewhere, notes, options=[".".join(path)], absorb=before)
        return _short_named(options)

    def _part_elsewhere(self, part: Part, call: Call, where: Path, before: int) -> None:
        options, elsewhere, notes = self._build(part, call, ())
        own = [(part.place, _short_named(options))] if part.place else []
        self._change(where, [*own, *elsewhere], notes, absorb=before, of_name=True)

    def _container(self, given: Any, where: Path) -> bool:
        """Translate what stands in a group that a recipe does not have; return whether all of it could be."""
        if isinstance(given, Mapping):
            done = [self.foreign(str(key), value, (), (*where, str(key))) for key, value in given.items()]
            return all(done)
        if not isinstance(given, list):
            return False
        understood = True
        for number, item in enumerate(given):
            call = as_call(item)
            part = None if call is None else _find(PARTS, call.name)
            if call is None or part is None:
                understood = False
            else:
                self._part_elsewhere(part, call, (*where, str(number)), len(self.changes))
        return understood

    def _build(self, part: Part, call: Call, path: Path) -> tuple[dict[str, Any], list[tuple[str, Any]], list[str]]:
        """Return the options of a part with its parameters, the options elsewhere that they set, and notes."""
        options: dict[str, Any] = dict(next(iter(part.base.values()), {}) if part.place == "layer" else part.base)
        elsewhere: list[tuple[str, Any]] = []
        notes = [part.note]
        first = next(iter(part.parameters), "")
        takes_pair = first in ("pool_size", "kernel_size")
        given = (list(call.given),) if takes_pair and len(call.given) == 2 else call.given
        for key, value in [*zip(part.parameters, given, strict=False), *call.options.items()]:
            word = _of_name(part.parameters, key)
            if word is None:
                options[key] = value
                continue
            notes.append(word.note)
            for option, one in _converted(word, value):
                if "." in option or not part.place:
                    elsewhere.append((self._place_of(option, path), one))
                else:
                    options[option] = one
        if not part.place:
            elsewhere = elsewhere or [(self._place_of(path, ()), one) for path, one in part.base.items()]
            return {}, elsewhere, notes
        return milestones(options) if options.get("name") == "milestones" else options, elsewhere, notes

    def _change(
        self,
        given: Path,
        pairs: Iterable[tuple[str, Any]],
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
        every = [*options, *(path for path, _value in pairs)]
        every += [path for change in inner for path in change.options if not path.startswith(tuple(every) or ("\0",))]
        said = [*notes, *(note for change in inner for note in change.notes)]
        notes = tuple(dict.fromkeys(filter(None, said)))
        self.changes.append(Change(given, tuple(dict.fromkeys(every)), notes, of_name))

    def _place_of(self, option: str, inside: Path) -> str:
        """Return the path of an option: in the section itself, or the shallowest in the sections that count."""
        if "." in option:
            return option
        if option in option_names(inside):
            return ".".join((*inside, option))
        for sections in (self.sections, Recipe.model_fields):
            matches = [path for path in option_paths(sections) if path.endswith(f".{option}")]
            if matches:
                return min(matches, key=lambda path: path.count("."))
        return option

    def _own_option(self, key: str) -> Word | None:
        """Return the word for one of kilat's own options that stands in another section, or is spelled otherwise."""
        names = {normal(path): path.rpartition(".")[2] for path in option_paths(Recipe.model_fields)}
        own = names.get(normal(key))
        return Word((own,)) if own and own != "name" else None


def _place(path: Path) -> str:
    """Return the place of parts at a path; empty where there are none."""
    if path[:2] in (("fit", "optimizer"), ("fit", "optimizer_groups")) and len(path) == (
        2 if "_" not in path[1] else 3
    ):
        return "fit.optimizer"
    if path[0] == "model" and path[-1] in ("activation", "function"):
        return "activation"
    place = ".".join(path)
    return place if place in ("fit.schedule", "fit.loss", "fit.early_stopping") else ""


def _parameters_at(path: Path) -> Mapping[str, Word]:
    """Return what other libraries call the options of the section at a path."""
    if path[:2] == ("model", "layers"):
        return _of_kind(path[-1])
    place = _place(path) if path else ""
    if not place and path[:2] == ("fit", "schedule"):
        place = "fit.schedule"
    tables = [part.parameters for part in PARTS.values() if place and part.place == place]
    return {name: word for table in reversed(tables) for name, word in table.items()}


def _of_kind(kind: str) -> dict[str, Word]:
    tables = [part.parameters for part in LAYERS.values() if part.place == "layer" and kind in part.base]
    return {name: word for table in reversed(tables) for name, word in table.items()}


def _own_kind(name: str) -> str:
    """Return a kind of layer in kilat's words; any other name as it is."""
    if name in Recipe.model_fields or name in KINDS:
        return name
    part = _find(LAYERS, name)
    return next(iter(part.base)) if part is not None and part.place == "layer" else name


def _own_part(name: str) -> Part | None:
    """Return the part for one of kilat's own kinds of layers, however it is spelled."""
    kind = {normal(kind): kind for kind in KINDS}.get(normal(name))
    return (
        Part("layer", {kind: {}}, {KINDS[kind].main or "": Word((KINDS[kind].main,)), **_of_kind(kind)})
        if kind
        else None
    )


def _find(table: Mapping[str, Part], name: str) -> Part | None:
    """Return an entry by its name, as it is written, or else without capitals and packages."""
    bare = name.rpartition(".")[2]
    word = normal(bare)
    return table.get(bare) or next((part for key, part in table.items() if normal(key) == word), None)


def _of_name(table: Mapping[str, Word], name: str) -> Word | None:
    return table.get(name) or {normal(key): word for key, word in table.items()}.get(normal(name))


def _converted(word: Word, value: Any) -> list[tuple[str, Any]]:
    """Return each option that a word sets, with its value."""
    try:
        converted = word.value(value)
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError):
        converted = value  # the check of the whole recipe refuses it
    several = len(word.to) > 1 and isinstance(converted, list)
    values = converted if several else [converted] * len(word.to)
    return [(option, one) for option, one in zip(word.to, values, strict=False) if one is not NOTHING]


def _short_named(options: Mapping[str, Any]) -> Any:
    """Return a part by its name alone, where that says it."""
    return options["name"] if list(options) == ["name"] else dict(options)


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
