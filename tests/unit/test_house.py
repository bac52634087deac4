"""The house stands: imports point down, torch stays in its rooms, starting is light, modules stay small, tests offline.

    python tests/unit/test_house.py [SRC]

prints the figures of a source tree: rooms, arrows between them, circles among files, the largest module, long
functions, and private functions whose name stands only once outside of their definition.
"""

import ast
import json
import re
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"

# From top to bottom: a room may import those below it, never one above it, inside functions and for type checkers too.
# kilat/__init__.py, the public face, stands above them all.
ORDER = (
    "cli", "lab", "verbs", "report", "learn", "bundle", "check", "fit", "model", "probe", "features", "evaluate",
    "data", "recipe", "runtime", "errors", "locale",
)  # fmt: skip
FACE = "__init__"
UNDER_ALL = ("errors", "locale")
"""Rooms that every other one may import without saying so."""

TORCH_ROOMS = ("fit", "model")
TORCH = {"torch", "torchvision", "timm"}
DOORS = {
    "kilat.cli.networks": {"model"},
    "kilat.lab.trained_trials": {"fit"},
    "kilat.learn.backbone": {"model"},
    "kilat.learn.device": {"model"},
    "kilat.learn.finetune": {"fit"},
    "kilat.learn.network": {"fit", "model"},
    "kilat.learn.small_network": {"fit"},
    "kilat.report.planned_rates": {"fit"},
    "kilat.verbs.import_keras": {"model"},
    "kilat.verbs.inspect": {"fit", "model"},
    "kilat.verbs.train": {"fit"},
}
"""The modules without torch that enter rooms with torch, by imports inside functions."""

TOP_LEVEL_FILES = {"__init__.py", "errors.py", "py.typed"}
LONGEST_MODULE = 450
LONGEST_FUNCTION = 60

SAME_NAMES = {
    "activations": "model has the functions of layers, verbs the verb about what layers give",
    "answers": "verbs has those of a finished model, lab those of trials",
    "backbone": "features has the graph and its layout, learn the choice of one",
    "comparison": "evaluate has the test of two classifiers, report its section",
    "deadline": "runtime has the moment, fit the updates that it leaves room for",
    "drift": "evaluate has the statistics, verbs the verb",
    "metrics": "evaluate has the arithmetic, learn the types of metrics.json",
    "network": "recipe has the section, learn the way to learn",
    "out_of_distribution": "evaluate has the score and its metrics, learn their place in learning",
    "results": "fit has those of a training, lab those of a lab",
    "robustness": "verbs has the measurement, report its section",
    "show": "verbs has the verb, cli what verbs print",
    "uncertainty": "learn has calibration and sets of a classifier, report their section",
}
"""Names that modules of different rooms share, and what each is."""


class Import(NamedTuple):
    """One import statement's target; deferred if it stands inside a function."""

    target: str
    deferred: bool
    for_types: bool
    line: int


class Function(NamedTuple):
    """A function of a module, with its length in lines."""

    module: str
    name: str
    lines: int


@dataclass(frozen=True)
class House:
    """The package in a source tree, by its imports and functions."""

    src: Path

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Every module by its dotted name."""
        found = {}
        for path in sorted((self.src / "kilat").rglob("*.py")):
            parts = path.relative_to(self.src).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return found

    @cached_property
    def rooms(self) -> set[str]:
        """The folders and modules at the top level."""
        entries = (self.src / "kilat").iterdir()
        return {path.stem for path in entries if path.is_dir() or path.suffix == ".py"} - {"__pycache__"}

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """The syntax tree of every module."""
        return {name: ast.parse(path.read_text("utf-8")) for name, path in self.modules.items()}

    @cached_property
    def imports(self) -> dict[str, list[Import]]:
        """What every module imports, inside functions and for type checkers too."""
        return {name: list(self._imports(name)) for name in self.modules}

    def _imports(self, module: str) -> Iterator[Import]:
        is_package = self.modules[module].name == "__init__.py"
        package = module.split(".") if is_package else module.split(".")[:-1]

        def visit(node: ast.AST, deferred: bool, for_types: bool) -> Iterator[Import]:
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, deferred, for_types, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                parents = package[: len(package) - node.level + 1] if node.level else []
                base = ".".join([*parents, *filter(None, [node.module])])
                for alias in node.names:
                    full = f"{base}.{alias.name}"
                    yield Import(full if full in self.modules else base, deferred, for_types, node.lineno)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                for child in node.body:
                    yield from visit(child, deferred, for_types=True)
                for child in node.orelse:
                    yield from visit(child, deferred, for_types)
            else:
                inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                for child in ast.iter_child_nodes(node):
                    yield from visit(child, inside, for_types)

        yield from visit(self.trees[module], deferred=False, for_types=False)

    def own_imports(self, module: str) -> Iterator[Import]:
        """Yield a module's imports of the package itself."""
        return (found for found in self.imports[module] if found.target.split(".")[0] == "kilat")

    def arrows(self) -> set[tuple[str, str]]:
        """Return which room imports which other one."""
        pairs = {(room(name), room(found.target)) for name in self.modules for found in self.own_imports(name)}
        return {(start, end) for start, end in pairs if start != end}

    def upward_arrows(self) -> set[tuple[str, str]]:
        """Return the arrows that point up, among the rooms that have their place in ``ORDER``."""
        known = {pair for pair in self.arrows() if set(pair) <= set(ORDER)}
        return {(start, end) for start, end in known if ORDER.index(end) < ORDER.index(start)}

    def circles(self) -> list[list[str]]:
        """Return the sets of files that import each other in a circle."""
        edges = {name: {found.target for found in self.own_imports(name)} - {name} for name in self.modules}
        reachable = {name: reached(edges, name) for name in self.modules}
        circles = {frozenset({name, *(n for n in ends if name in reachable[n])}) for name, ends in reachable.items()}
        return sorted(sorted(circle) for circle in circles if len(circle) > 1)

    def functions(self) -> Iterator[Function]:
        """Yield every function and method."""
        for module, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield Function(module, node.name, (node.end_lineno or node.lineno) - node.lineno + 1)

    def private_functions(self) -> list[Function]:
        """Return the functions and methods whose name begins with one underscore."""
        return [one for one in self.functions() if re.match("_[^_]", one.name)]

    def named_once(self) -> list[Function]:
        """Return the private functions whose name stands only once in their module outside of their definition."""
        words = {name: re.findall(r"\w+", path.read_text("utf-8")) for name, path in self.modules.items()}
        return [one for one in self.private_functions() if words[one.module].count(one.name) == 2]

    def lines(self, module: str) -> int:
        """Return the length of a module."""
        return len(self.modules[module].read_text("utf-8").splitlines())

    def figures(self) -> dict[str, int | str]:
        """Return what the script prints."""
        largest = max(self.modules, key=self.lines)
        long = [f"{one.module}.{one.name} ({one.lines})" for one in self.functions() if one.lines > LONGEST_FUNCTION]
        upward, circles = self.upward_arrows(), self.circles()
        return {
            "rooms at the top level": len(self.rooms),
            "of these without a place": ", ".join(sorted(self.rooms - {*ORDER, FACE})) or "none",
            "arrows between rooms": len(self.arrows()),
            "upward arrows": f"{len(upward)} {listed(' → '.join(pair) for pair in upward)}",
            "circles among files": f"{len(circles)} {listed(map(' '.join, circles))}",
            "modules": len(self.modules),
            "largest module": f"{largest}, {self.lines(largest)} lines",
            f"functions of more than {LONGEST_FUNCTION} lines": f"{len(long)} {listed(long)}",
            "private functions": len(self.private_functions()),
            "of these named once": len(self.named_once()),
        }


def room(module: str) -> str:
    """Return the first folder or file below kilat that a module lives in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else FACE


def reached(edges: Mapping[str, set[str]], start: str) -> set[str]:
    """Return everything that arrows lead to from a start."""
    found: set[str] = set()
    ahead = [start]
    while ahead:
        following = edges.get(ahead.pop(), set()) - found
        found |= following
        ahead += following
    return found


def listed(items: Iterable[str]) -> str:
    return "".join(f"\n    {item}" for item in sorted(items))


HOUSE = House(SRC)
MODULES = HOUSE.modules


def problems(module: str, lines: Iterable[str]) -> str:
    return "\n".join([str(MODULES[module]), *lines]) if (lines := list(lines)) else ""


class TestRooms:
    def test_every_room_has_its_place_and_every_place_its_room(self):
        assert HOUSE.rooms == {*ORDER, FACE}

    def test_at_the_top_level_there_are_only_rooms(self):
        files = {path.name for path in (SRC / "kilat").iterdir() if path.is_file()}
        assert files == TOP_LEVEL_FILES

    def test_every_folder_is_a_package_or_holds_data_of_one(self):
        folders = [path for path in (SRC / "kilat").iterdir() if path.is_dir() and path.name != "__pycache__"]
        assert not [path.name for path in folders if not (path / "__init__.py").is_file()]

    @pytest.mark.parametrize("module", [name for name, path in MODULES.items() if path.name == "__init__.py"])
    def test_every_room_says_what_it_is_for_and_what_it_stands_on(self, module):
        docstring = ast.get_docstring(HOUSE.trees[module]) or ""
        assert docstring.partition("\n")[0].strip(), "the first line says what it is for"
        if module == "kilat":
            return
        stands_on = re.search(r"Stands on (.*?)\.(?:\s|$)", docstring, re.DOTALL)
        assert stands_on, "a sentence begins with 'Stands on'"
        if module.count(".") > 1 or "every room below" in stands_on[1]:
            return
        said = set(re.findall(r"\w+", stands_on[1])) & set(ORDER)
        real = {end for start, end in HOUSE.arrows() if start == room(module)} - {FACE}
        assert real - {*UNDER_ALL} <= said, f"it also stands on {', '.join(sorted(real - said))}"
        assert said <= real, f"it does not stand on {', '.join(sorted(said - real))}"

    def test_modules_of_different_rooms_share_a_name_only_where_that_is_agreed(self):
        rooms = defaultdict(set)
        for name, path in MODULES.items():
            if path.stem != "__init__":
                rooms[path.stem].add(room(name))
        shared = {stem for stem, where in rooms.items() if len(where) > 1}
        assert shared == set(SAME_NAMES)


class TestImports:
    @pytest.mark.parametrize("module", MODULES)
    def test_they_point_down(self, module):
        own = room(module)
        below = () if own == FACE else ORDER[ORDER.index(own) + 1 :]
        wrong = [
            f"line {found.line}: {found.target} is no room below {own}"
            for found in HOUSE.own_imports(module)
            if own != FACE
            and room(found.target) not in {own, *below}
            # the version and the other public names come from the face, which loads nothing
            and found.target != "kilat"
        ]
        assert not problems(module, wrong)

    @pytest.mark.parametrize("module", [name for name in MODULES if room(name) not in TORCH_ROOMS])
    def test_rooms_with_torch_are_entered_through_doors(self, module):
        """A door is an import inside a function, so that torch is loaded only where it is needed."""
        into_torch = [found for found in HOUSE.own_imports(module) if room(found.target) in TORCH_ROOMS]
        wrong = [
            f"line {found.line}: import {found.target} inside the function that needs it"
            for found in into_torch
            if not found.deferred and not found.for_types
        ]
        assert not problems(module, wrong)
        assert {room(found.target) for found in into_torch if found.deferred} == DOORS.get(module, set())

    def test_every_door_exists(self):
        assert set(DOORS) <= set(MODULES)

    def test_no_files_import_each_other_in_a_circle(self):
        assert HOUSE.circles() == []

    @pytest.mark.parametrize("module", [name for name in MODULES if room(name) not in TORCH_ROOMS])
    def test_only_the_rooms_marked_for_it_import_torch(self, module):
        wrong = [f"line {i.line}: {i.target}" for i in HOUSE.imports[module] if i.target.split(".")[0] in TORCH]
        assert not problems(module, wrong)


class TestSize:
    @pytest.mark.parametrize("module", MODULES)
    def test_modules_stay_small(self, module):
        assert HOUSE.lines(module) <= LONGEST_MODULE


class TestFigures:
    """What the script prints, of a small house with every fault."""

    @pytest.fixture
    def house(self, tmp_path):
        files = {
            "kilat/__init__.py": "",
            "kilat/loose.py": "def _used():\n    pass\n\n\ndef _twice():\n    pass\n\n\n_used()\n_twice()\n_twice()\n",
            "kilat/recipe/__init__.py": "if TYPE_CHECKING:\n    import kilat.fit.one\n",
            "kilat/fit/__init__.py": "",
            "kilat/fit/one.py": "from kilat.fit import two\nfrom kilat.recipe import Recipe\n",
            "kilat/fit/two.py": "def f():\n    from . import one\n" + "    1\n" * 60,
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return House(tmp_path)

    def test_rooms_and_arrows(self, house):
        assert house.rooms == {"__init__", "loose", "recipe", "fit"}
        assert house.arrows() == {("recipe", "fit"), ("fit", "recipe")}
        assert house.upward_arrows() == {("recipe", "fit")}

    def test_circles_count_deferred_imports_and_those_for_types(self, house):
        assert house.circles() == [["kilat.fit.one", "kilat.fit.two", "kilat.recipe"]]

    def test_functions(self, house):
        assert [one.name for one in house.private_functions()] == ["_used", "_twice"]
        assert [one.name for one in house.named_once()] == ["_used"]
        assert [(one.name, one.lines) for one in house.functions() if one.lines > LONGEST_FUNCTION] == [("f", 62)]


def loaded_by(*names: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after importing these."""
    code = (
        f"import importlib, json, sys\nfor n in {names}: importlib.import_module(n)\nprint(json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def third_party(loaded: set[str]) -> set[str]:
    """Return the distributions among loaded modules: not Python's own, not kilat, not what Python starts with."""
    bare = {name.partition(".")[0] for name in loaded_by()}
    return {name.partition(".")[0] for name in loaded} - bare - set(sys.stdlib_module_names) - {"kilat"}


class TestLightness:
    def test_the_core_loads_without_torch(self):
        core = [name for name in MODULES if room(name) not in TORCH_ROOMS]
        assert not TORCH & loaded_by(*core)

    def test_importing_kilat_loads_nothing_else(self):
        assert third_party(loaded_by("kilat")) == set()

    def test_the_predictor_needs_numpy_onnxruntime_and_pillow_only(self):
        allowed = third_party(loaded_by("numpy", "onnxruntime", "PIL.Image"))
        assert third_party(loaded_by("kilat.bundle.predictor")) <= allowed

    def test_the_command_line_starts_light(self):
        heavy = {"matplotlib", "numpy", "onnx", "onnxruntime", "pandas", "pydantic", "scipy", "sklearn"}
        assert not heavy & loaded_by("kilat.cli")


class TestNetwork:
    @pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0), ("example.org", 80)])
    def test_it_is_closed(self, address):
        family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
        with socket.socket(family) as outside, pytest.raises(pytest.fail.Exception, match="runs offline"):
            outside.connect(address)
        with pytest.raises(pytest.fail.Exception, match="runs offline"):
            socket.getaddrinfo(address[0], 80)

    def test_this_machine_may_talk_to_itself(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()


if __name__ == "__main__":
    for label, figure in House(Path(*sys.argv[1:2]) if sys.argv[1:] else SRC).figures().items():
        print(f"{label}: {figure}")  # noqa: T201 - it is a script then
