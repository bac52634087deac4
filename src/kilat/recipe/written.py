"""The YAML of a recipe as it was written: its content, and in which line and column everything stands."""

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from kilat.errors import RecipeError
from kilat.locale import N_, _

Path = tuple[str, ...]

MAX_CHARACTERS = 256_000
"""A longer file is no recipe."""

_MAX_VALUES = 20_000
"""More names and values than this, aliases counted as often as they stand, are no recipe."""

_DEEPEST = 200
"""Groups inside groups, and characters by which a line is indented."""

_SHOWN_CHARACTERS = 100
"""Of a line that is shown."""

_MERGE = "tag:yaml.org,2002:merge"
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

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

    def located(self, place: tuple[int, int], sentence: str, *, with_mark: bool = False) -> str:
        """Return a sentence after the name of the file, the line and the column, and below it the line itself.

        Args:
            place: line and column from 0.
            sentence: about it.
            with_mark: whether the column is marked even where the line begins with it.
        """
        number, column = place
        lines = self.text.splitlines()
        line = lines[number].replace("\t", "→") if number < len(lines) else ""
        start = max(0, column - _SHOWN_CHARACTERS // 2) if len(line) > _SHOWN_CHARACTERS else 0
        shown = ("…" if start else "") + line[start : start + _SHOWN_CHARACTERS].rstrip()
        margin = f"{number + 1:>6} | "
        found = [f"{self.name}:{number + 1}:{column + 1}: {sentence}", f"{margin}{shown}"]
        if with_mark or line[:column].strip(" -"):
            found.append(f"{'| ':>{len(margin)}}{' ' * (column - start + bool(start))}^")
        return "\n".join(found)


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
    _refuse_depth(written)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        content = None if node is None else _Reader(loader, written).value(node, ())
    except yaml.MarkedYAMLError as error:
        raise _invalid(written, *_mistake(written, error)) from None
    except yaml.reader.ReaderError as error:
        starts = [0, *(index + 1 for index, sign in enumerate(text) if sign == "\n")]
        line = bisect.bisect_right(starts, error.position) - 1
        place = (line, error.position - starts[line])
        raise _invalid(written, place, _reason(error.reason, error.reason)) from None
    return content, written


def _refuse_depth(written: Written) -> None:
    """Refuse groups inside groups without end, before they are parsed, by their brackets and by how lines begin."""
    depth = 0
    for number, line in enumerate(written.text.splitlines()):
        begun = line.lstrip(" -?")
        deepest = len(line) - len(begun)
        for column, sign in enumerate(line):
            depth += (sign in "[{") - (sign in "]}" and depth > 0)
            deepest = max(deepest, depth)
            if deepest > _DEEPEST:
                raise _invalid(written, (number, column), _("groups are nested too deeply"))


class _Reader:
    """Makes values of YAML's nodes, and notes where they stand."""

    def __init__(self, loader: yaml.SafeLoader, written: Written) -> None:
        self.loader, self.written = loader, written
        self.count = 0
        self.open: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: Path) -> Any:
        """Return the value of a node."""
        self.count += 1
        if self.count > _MAX_VALUES:
            reason = _("aliases (*) repeat anchors (&) until there are more values than a recipe can have")
            raise _invalid(self.written, _mark(node), reason)
        if any(node is one for one in self.open):
            raise _invalid(self.written, _mark(node), _("an alias (*) stands inside of its own anchor (&)"))
        self.written.values.setdefault(path, _mark(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if node.tag not in _PLAIN_TAGS:
            self.loader.construct_object(node)  # raises, but for YAML's own further kinds
            raise _invalid(self.written, _mark(node), _("a tag (!) that a recipe has no use for"))
        self.open.append(node)
        if isinstance(node, yaml.SequenceNode):
            value: Any = [self.value(item, (*path, str(number))) for number, item in enumerate(node.value)]
        else:
            value = self._mapping(node, path)
        self.open.pop()
        return value

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return self.loader.construct_object(node)
        except (ValueError, OverflowError):  # what looks like a date, or a number, and is none
            raise _invalid(
                self.written, _mark(node), _("looks like a date or a number and is none: quote it")
            ) from None

    def _mapping(self, node: yaml.Node, path: Path) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for name_node, value_node in node.value:
            if name_node.tag == _MERGE:
                for one in self._merged(value_node):
                    merged = {**self._mapping(one, path), **merged}
                continue
            name = self._scalar(name_node) if isinstance(name_node, yaml.ScalarNode) else None
            if name is None:
                raise _invalid(self.written, _mark(name_node), _("a name must stand before the colon"))
            if isinstance(name, str) and name != name.strip():
                reason = _("a blank that belongs to the name (U+{code:04X}): type it anew")
                blank = name.replace(name.strip(), "")[:1]
                raise _invalid(self.written, _mark(name_node), reason.format(code=ord(blank or " ")))
            inner = (*path, str(name))
            if name in values:
                line, _column = self.written.names[inner]
                reason = _("'{name}' stands twice in one group, first in line {line}; YAML would drop the first")
                raise _invalid(self.written, _mark(name_node), reason.format(name=name, line=line + 1))
            self.written.names[inner] = _mark(name_node)
            self.written.values.pop(inner, None)  # that of a merged group
            values[name] = self.value(value_node, inner)
        return {**merged, **values}

    def _merged(self, node: yaml.Node) -> Iterator[yaml.Node]:
        """Yield the groups that a merge key (<<) brings."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for one in nodes:
            if not isinstance(one, yaml.MappingNode) or any(one is outer for outer in self.open):
                raise _invalid(self.written, _mark(node), _("<< needs a group with names, such as *defaults"))
            yield one


def _mark(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line, node.start_mark.column


def _mistake(written: Written, error: yaml.MarkedYAMLError) -> tuple[tuple[int, int], str]:
    """Return line and column of a mistake, and what it is; where a name or a quote has no end, of its beginning."""
    problem = str(error.problem)
    is_begun_before = "could not find expected ':'" in problem or "end of stream" in problem
    mark = (error.context_mark if is_begun_before else None) or error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    if "mapping values are not allowed" in problem and line:
        lines = written.text.splitlines()
        above = next((number for number in range(line - 1, -1, -1) if lines[number].strip()), line)
        if unspaced := _UNSPACED.match(lines[above]):
            return (above, unspaced.end()), _("a blank must stand after the colon")
        if _is_name_and_value(lines[above]) and _indentation(lines[line]) > _indentation(lines[above]):
            return (line, _indentation(lines[line])), _(
                "indented deeper than the line above, which has its value already"
            )
    return (line, column), _reason(f"{error.context} {problem}", problem)


_UNSPACED = re.compile(r"\s*(?:- )?[\w.]+:(?=[^\s/\\])")
"""A name whose colon has no blank after it; a path of Windows or an address is none."""


def _is_name_and_value(line: str) -> bool:
    return re.match(r"\s*(?:- )?[\w.]+: +[^\s#]", line) is not None


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _reason(complaint: str, otherwise: str) -> str:
    return next((_(said) for part, said in _REASONS if part in complaint), otherwise)


def _invalid(written: Written, place: tuple[int, int], reason: str) -> RecipeError:
    name = written.name or _("that comes with kilat")
    message = _("The recipe {name} is not valid YAML:").format(name=name)
    located = written.located(place, reason, with_mark=True)
    return RecipeError("\n".join([message, *(f"  {line}" for line in located.split("\n"))]))
