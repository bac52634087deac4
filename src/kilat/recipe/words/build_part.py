"""A part with its parameters, as options of a recipe."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kilat.recipe.words.call import Call
from kilat.recipe.words.lookup import converted, find_word
from kilat.recipe.words.part_words import COMPUTED
from kilat.recipe.words.word import Part, normal


@dataclass
class BuiltPart:
    """What a part says in a recipe.

    Args:
        options: at its place.
        elsewhere: options that it sets besides, by their path or name, with their values.
        notes: sentences about what differs.
    """

    options: dict[str, Any]
    elsewhere: list[tuple[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def short(self) -> Any:
        """The options, or the part's name alone where that says it."""
        return self.options["name"] if list(self.options) == ["name"] else dict(self.options)


def build_part(part: Part, call: Call) -> BuiltPart:
    """Return what a part says with these parameters; those that it does not know stay as they are.

    Args:
        part: the entry of the table.
        call: its parameters as given.
    """
    base = next(iter(part.base.values()), {}) if part.place == "layer" else part.base
    built = BuiltPart(dict(base) if part.place else {}, notes=[part.note])
    for name, value in [*_by_position(part, call), *_by_name(part, call)]:
        word = find_word(part.parameters, name)
        if word is None:
            built.options[name] = value
            continue
        built.notes.append(word.note)
        for option, one in converted(word, value):
            if "." in option or not part.place:
                built.elsewhere.append((option, one))
            else:
                built.options[option] = one
    if not part.place:
        built.options = {}
        built.elsewhere = built.elsewhere or list(base.items())
    if compute := COMPUTED.get(str(built.options.get("name"))):
        built.options = compute(built.options)
    return built


def _by_name(part: Part, call: Call) -> list[tuple[str, Any]]:
    """Return the parameters that were given by name; those that change the part's own name last, as in the table."""
    order = {normal(name): number for number, (name, word) in enumerate(part.parameters.items()) if "name" in word.to}
    return sorted(call.options.items(), key=lambda item: order.get(normal(item[0]), -1))


def _by_position(part: Part, call: Call) -> Iterator[tuple[str, Any]]:
    """Yield the names of parameters that were given without, with their values."""
    names, given = list(part.parameters), list(call.given)
    if not names or not given:
        return
    if call.is_list and names[0] in ("pool_size", "kernel_size"):  # height and width
        given = [given]
    elif names[0] == "monitor" and not isinstance(given[0], str):  # of a callback with a number alone
        names = ["patience"]
    elif names[0].startswith("in_") and len(given) == 1:  # what comes in is never what is meant alone
        names = names[1:]
    yield from zip(names, given, strict=False)
