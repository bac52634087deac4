"""The house stands: imports point one way, torch stays in its rooms, starting is light, tests stay offline."""

import ast
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"

# A room may import what stands before it, never what stands after it. "__init__" is the public face, kilat/__init__.py.
ORDER = (
    "errors", "locale", "clock", "runtime", "run", "data", "recipe", "features", "probe", "model", "fit", "evaluate",
    "check", "explain", "report", "bundle", "serve", "lab", "cluster", "record", "imported", "sensing", "learning",
    "finetuning", "trusting", "drifting", "checking", "preparation", "pipeline", "classifier", "estimator", "__init__",
    "cli", "__main__",
)  # fmt: skip
TORCH_ROOMS = ("model", "fit", "explain")
TORCH = {"torch", "torchvision", "timm"}


class Import(NamedTuple):
    """One import statement's target; deferred if it stands inside a function."""

    target: str
    deferred: bool
    line: int


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((SRC / "kilat").rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    """The first folder or file below kilat that a module lives in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(module: str) -> Iterator[Import]:
    """What a module imports, inside functions too; what only a type checker sees is left out."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def visit(node: ast.AST, deferred: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, deferred, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield Import(full if full in MODULES else base, deferred, node.lineno)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                yield from visit(child, deferred)
        else:
            inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from visit(child, inside)

    yield from visit(ast.parse(path.read_text("utf-8")), deferred=False)


def loaded_by(*names: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after importing these."""
    code = (
        f"import importlib, json, sys\nfor n in {names}: importlib.import_module(n)\nprint(json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def third_party(loaded: set[str]) -> set[str]:
    """The distributions among loaded modules: not Python's own, not kilat, not what a bare interpreter starts with."""
    bare = {name.partition(".")[0] for name in loaded_by()}
    return {name.partition(".")[0] for name in loaded} - bare - set(sys.stdlib_module_names) - {"kilat"}


@pytest.mark.parametrize("module", MODULES)
def test_every_room_has_its_place(module):
    assert room(module) in ORDER, f"give '{room(module)}' its place in ORDER (tests/unit/test_house.py)"


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in ORDER])
def test_imports_point_one_way(module):
    """A room with torch is entered from the core through a door inside a function, and from there in any direction."""
    rank = ORDER.index(room(module))
    wrong = []
    for target, deferred, line in imports(module):
        if target.split(".")[0] != "kilat" or room(target) == room(module):
            continue
        into_torch = room(target) in TORCH_ROOMS
        if into_torch and deferred:
            continue
        if into_torch and room(module) not in TORCH_ROOMS:
            wrong.append(f"line {line}: {target} brings torch; import it inside the function that needs it")
        elif room(target) not in ORDER or ORDER.index(room(target)) > rank:
            wrong.append(f"line {line}: {target} stands after {room(module)}")
    assert not wrong, "\n".join([str(MODULES[module]), *wrong])


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) not in TORCH_ROOMS])
def test_only_the_rooms_marked_for_it_import_torch(module):
    wrong = [f"line {i.line}: {i.target}" for i in imports(module) if i.target.split(".")[0] in TORCH]
    assert not wrong, "\n".join([str(MODULES[module]), *wrong])


def test_the_core_loads_without_torch():
    core = [m for m in MODULES if room(m) not in TORCH_ROOMS and room(m) != "__main__"]
    assert not TORCH & loaded_by(*core)


def test_importing_kilat_loads_nothing_else():
    assert third_party(loaded_by("kilat")) == set()


def test_the_predictor_needs_numpy_onnxruntime_and_pillow_only():
    allowed = third_party(loaded_by("numpy", "onnxruntime", "PIL.Image"))
    assert third_party(loaded_by("kilat.bundle.predictor")) <= allowed


def test_the_command_line_starts_light():
    heavy = {"matplotlib", "numpy", "onnx", "onnxruntime", "pandas", "pydantic", "scipy", "sklearn"}
    assert not heavy & loaded_by("kilat.cli")


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0), ("example.org", 80)])
def test_the_network_is_closed(address):
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    with socket.socket(family) as outside, pytest.raises(pytest.fail.Exception, match="runs offline"):
        outside.connect(address)
    with pytest.raises(pytest.fail.Exception, match="runs offline"):
        socket.getaddrinfo(address[0], 80)


def test_this_machine_may_talk_to_itself():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
