"""The YAML of a recipe as it was written: its content, and in which line and column everything stands."""

import bisect
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from kilat.errors import RecipeError
from kilat.locale import N_, _
from kilat.locale.escapes import Shown, visible
from kilat.locale.excerpt import shortened
from kilat.recipe.size_limits import MAX_DEPTH, MAX_TEXT, MAX_VALUES, too_large_number

Path = tuple[str, ...]

MAX_CHARACTERS = 256_000
"""A longer file is no recipe."""

_SHOWN_CHARACTERS = 100
"""Of a line that is shown."""

_MERGE = "tag:yaml.org,2002:merge"
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_VALUE_TAGS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "timestamp"))

_OTHER_BASE = re.compile(r"[-+]?(?:0[0-7_]+|[\d_]+(?::[\d_.]+)+)")
"""Numbers that YAML 1.1 reads to the base of 8 (010) or of 60 (1:30), and nobody else does."""

_TOO_DEEP = "groups nested too deeply"
_TOO_MANY = "too many values"

_REASONS = (
    ("'\\t'", N_("a tab stands where YAML needs spaces")),
    ("mapping values are not allowed here", N_(
        "a second colon with a blank after it in one value: quote the value, or check how far the lines are indented")),
    ("found undefined alias", N_("a value begins with *, which stands for an anchor that is not there: quote it")),
    ("could not find expected ':'", N_("neither a list nor 'name: value', with a blank after the colon")),
    ("expected <block end>", N_("indented otherwise than the lines that it belongs to")),
    ("expected ',' or ']'", N_("a list is not closed: a comma or ] is missing before this")),
    ("expected ',' or '}'", N_("a group is not closed: a comma or } is missing before this")),
    ("while scanning a quoted scalar", N_("a quote is opened and never closed")),
    ("found unknown escape character", N_(
        "in double quotes a backslash begins an escape sequence: use single quotes, or /")),
    ("that cannot start any token", N_("a value cannot begin with this character: quote it")),
    ("expected a single document", N_("a second document begins here; a recipe is one")),
    ("could not determine a constructor for the tag", N_("a tag (!) that is not one of YAML's own: quote the value")),
    ("special characters are not allowed", N_("a character that cannot be printed")),
    (_TOO_DEEP, N_("groups are nested too deeply")),
    (_TOO_MANY, N_("more values than a recipe can have")),
)  # fmt: skip
"""What the parser of YAML complains about, and what is to be said of it; the first that fits."""


@dataclass(frozen=True)
class Written:
    """A recipe's text.

    Args:
        name: of its file, for messages; empty for a recipe that comes with kilat, which nobody is sent to.
        text: its content.
        names: where the names of options stand, as line and column from 0, by their path.
        values: where their values begin.
    """

    name: str
    text: str
    names: dict[Path, tuple[int, int]] = field(default_factory=dict)
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def place(self, path: Path, *, of_name: bool = True) -> tuple[int, int] | None:
        """Return line and column of an option's name, or of its value; of what it stands in where it is not written."""
        for end in range(len(path), 0, -1):
            places = (self.names, self.values) if of_name else (self.values, self.names)
            for one in places:
                if path[:end] in one:
                    return one[path[:end]]
        return None

    def located(self, place: tuple[int, int], sentence: str, *, with_mark: bool = False) -> list[str]:
        """Return a sentence after the name of the file, the line and the column; and, a line each, what stands there.

        Args:
            place: line and column from 0.
            sentence: about it.
            with_mark: whether the column is marked even where the line begins with it.
        """
        number, column = place
        lines = self.text.splitlines()
        line = lines[number].replace("\t", "→") if number < len(lines) else ""
        start = max(0, column - _SHOWN_CHARACTERS // 2) if len(line) > _SHOWN_CHARACTERS else 0
        part = "".join(sign if visible(sign) == sign else "�" for sign in line[start : start + _SHOWN_CHARACTERS])
        shown = ("…" if start else "") + part.rstrip()
        margin = f"{number + 1:>6} | "
        found = [f"{self.name}:{number + 1}:{column + 1}: {sentence}", f"{margin}{shown}"]
        if with_mark or line[:column].strip(" -"):
            found.append(f"{'| ':>{len(margin)}}{' ' * (column - start + bool(start))}^")
        return found


class _MistakeError(Exception):
    """Something that is wrong with YAML: its line and column from 0, and what it is, in words."""

    def __init__(self, place: tuple[int, int], reason: str) -> None:
        super().__init__(reason)
        self.place, self.reason = place, reason


def read_yaml(text: str, name: str) -> tuple[Any, Written]:
    """Return the content of a recipe's text, and where it stands.

    Args:
        text: YAML.
        name: of its file; empty for a recipe that comes with kilat.

    Raises:
        RecipeError: it is not valid YAML, has a name twice in one group, or is none of a recipe's size.
    """
    written = Written(name, text)
    if len(text) > MAX_CHARACTERS:
        raise RecipeError(
            _("{name} has {count:,} characters, which is more than a recipe can have.").format(
                name=name, count=len(text)
            )
        )
    try:
        return _read(written), written
    except _MistakeError as mistake:
        message = _("The recipe {name} is not valid YAML:").format(name=name or _("that comes with kilat"))
        lines = written.located(mistake.place, mistake.reason, with_mark=True)
        raise RecipeError(Shown("\n").join([message, *(f"  {line}" for line in lines)])) from None


def read_value(text: str) -> Any:
    """Return a value that is written as YAML, within the bounds of a recipe.

    Raises:
        ValueError: it is not valid; says why.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(_("more values than a recipe can have"))
    try:
        return _read(Written("", text))
    except _MistakeError as mistake:
        raise ValueError(mistake.reason) from None


def _read(written: Written) -> Any:
    """Return what is written.

    Raises:
        _MistakeError: it is not valid.
    """
    try:
        loader = _Loader(written.text)
        node = loader.get_single_node()
        return None if node is None else _Reader(loader, written).value(node, ())
    except yaml.MarkedYAMLError as error:
        raise _mistake(written, error) from None
    except yaml.reader.ReaderError as error:
        starts = [0, *(index + 1 for index, sign in enumerate(written.text) if sign == "\n")]
        line = bisect.bisect_right(starts, error.position) - 1
        place = (line, error.position - starts[line])
        raise _MistakeError(place, _reason(error.reason, error.reason)) from None


class _Loader(yaml.SafeLoader):
    """Composes nodes for as long as they are no more, and no deeper, than those of a recipe."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node, with all that is inside of it."""
        self.depth, self.count = self.depth + 1, self.count + 1
        if self.depth > MAX_DEPTH or self.count > MAX_VALUES:
            complaint = _TOO_DEEP if self.depth > MAX_DEPTH else _TOO_MANY
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=complaint, problem_mark=event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    """Makes values of YAML's nodes, and notes where they stand."""

    def __init__(self, loader: yaml.SafeLoader, written: Written) -> None:
        self.loader, self.written = loader, written
        self.count = 0
        self.open: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: Path) -> Any:
        """Return the value of a node."""
        if any(node is one for one in self.open):
            raise _MistakeError(_mark(node), _("an alias (*) stands inside of its own anchor (&)"))
        self.written.values.setdefault(path, _mark(node))
        if isinstance(node, yaml.ScalarNode):
            self._count(node)
            return self._scalar(node)
        if node.tag not in _PLAIN_TAGS:
            self.loader.construct_object(node)  # raises, but for YAML's own further kinds
            raise _MistakeError(_mark(node), _("a tag (!) that a recipe has no use for"))
        with self._opened(node):
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, str(number))) for number, item in enumerate(node.value)]
            return self._mapping(node, path)

    @contextlib.contextmanager
    def _opened(self, node: yaml.Node) -> Iterator[None]:
        """Read what is inside of a node."""
        self._count(node)
        if len(self.open) == MAX_DEPTH:
            raise _MistakeError(_mark(node), _("groups are nested too deeply"))
        self.open.append(node)
        yield
        self.open.pop()

    def _count(self, node: yaml.Node) -> None:
        """Count a value, as often as an alias brings it."""
        self.count += 1
        if self.count > MAX_VALUES:
            reason = _("aliases (*) repeat anchors (&) until there are more values than a recipe can have")
            raise _MistakeError(_mark(node), reason)

    def _scalar(self, node: yaml.Node) -> Any:
        if len(node.value) > MAX_TEXT:
            reason = _("a value of {count:,} characters, which is more than a recipe can have")
            raise _MistakeError(_mark(node), reason.format(count=len(node.value)))
        try:
            value = self.loader.construct_object(node)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            ValueError,
        ):  # of a date that is none, of a tag
            raise _MistakeError(_mark(node), _("looks like a date or a number and is none: quote it")) from None
        if node.tag not in _VALUE_TAGS:
            raise _MistakeError(_mark(node), _("a tag (!) that a recipe has no use for"))
        if reason := too_large_number(value):
            raise _MistakeError(_mark(node), reason)
        if isinstance(value, int | float) and _OTHER_BASE.fullmatch(node.value):
            reason = _("YAML reads {written} as {value}: write that number, or quote what is written")
            raise _MistakeError(_mark(node), reason.format(written=shortened(node.value), value=value))
        return value

    def _mapping(self, node: yaml.Node, path: Path) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for name_node, value_node in node.value:
            if name_node.tag == _MERGE:
                for one in self._merged(value_node):
                    with self._opened(one):
                        merged = {**self._mapping(one, path), **merged}
                continue
            name = self._name(name_node)
            inner = (*path, str(name))
            if name in values:
                line, _column = self.written.names[inner]
                reason = _("'{name}' stands twice in one group, first in line {line}; YAML would drop the first")
                raise _MistakeError(_mark(name_node), reason.format(name=shortened(str(name)), line=line + 1))
            self.written.names[inner] = _mark(name_node)
            self.written.values.pop(inner, None)  # that of a merged group
            values[name] = self.value(value_node, inner)
        return {**merged, **values}

    def _name(self, node: yaml.Node) -> Any:
        name = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if name is None:
            raise _MistakeError(_mark(node), _("a name must stand before the colon"))
        if isinstance(name, bool):
            reason = _("YAML reads the name {written} as {value}: quote it")
            raise _MistakeError(_mark(node), reason.format(written=node.value, value=str(name).lower()))
        if isinstance(name, str) and name != name.strip():
            reason = _("a blank that belongs to the name (U+{code:04X}): type it anew")
            blank = name.replace(name.strip(), "")[:1]
            raise _MistakeError(_mark(node), reason.format(code=ord(blank or " ")))
        return name

    def _merged(self, node: yaml.Node) -> Iterator[yaml.Node]:
        """Yield the groups that a merge key (<<) brings."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for one in nodes:
            if not isinstance(one, yaml.MappingNode) or any(one is outer for outer in self.open):
                raise _MistakeError(_mark(node), _("<< needs a group with names, such as *defaults"))
            yield one


def _mark(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line, node.start_mark.column


def _mistake(written: Written, error: yaml.MarkedYAMLError) -> _MistakeError:
    """Return a mistake that the parser found; where a name or a quote has no end, with the place of its beginning."""
    problem = str(error.problem)
    is_begun_before = "could not find expected ':'" in problem or "end of stream" in problem
    mark = (error.context_mark if is_begun_before else None) or error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    if "mapping values are not allowed" in problem and line:
        lines = written.text.splitlines()
        above = next((number for number in range(line - 1, -1, -1) if lines[number].strip()), line)
        if unspaced := _UNSPACED.match(lines[above]):
            return _MistakeError((above, unspaced.end()), _("a blank must stand after the colon"))
        if _is_name_and_value(lines[above]) and _indentation(lines[line]) > _indentation(lines[above]):
            reason = _("indented deeper than the line above, which has its value already")
            return _MistakeError((line, _indentation(lines[line])), reason)
    return _MistakeError((line, column), _reason(f"{error.context} {problem}", problem))


_UNSPACED = re.compile(r"\s*(?:- )?[\w.]+:(?=[^\s/\\])")
"""A name whose colon has no blank after it; a path of Windows or an address is none."""


def _is_name_and_value(line: str) -> bool:
    return re.match(r"\s*(?:- )?[\w.]+: +[^\s#]", line) is not None


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _reason(complaint: str, otherwise: str) -> str:
    return next((_(said) for part, said in _REASONS if part in complaint), otherwise)
