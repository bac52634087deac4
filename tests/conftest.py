"""What every test stands on: a closed network, a cache of its own, English sentences, and the shared pictures."""

import ipaddress
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["KILAT_LANG"] = "en"
# The networks of tests are tiny, and threads that wait for each other cost more than they bring; in the processes that
# tests start as well, since sums over another number of threads come out differently.
os.environ["OMP_NUM_THREADS"] = "1"

UNPACK = Path(__file__).resolve().parents[2] / "shared" / "data" / "unpack"
PLACES = (os.environ.get("KILAT_DATA", ""), str(Path.home() / ".cache" / "kilat-shared-data"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also run the tests marked data, gpu and slow")


def _chosen(config: pytest.Config, mark: str) -> bool:
    return config.getoption("--all") or mark in config.getoption("-m")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for mark in ("data", "gpu", "slow"):
            if item.get_closest_marker(mark) and not _chosen(config, mark):
                item.add_marker(pytest.mark.skip(reason=f"marked {mark}: run with --all (make test-all)"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        torch = pytest.importorskip("torch", reason="the extra torch is not installed")
        if not torch.cuda.is_available():
            pytest.skip("this machine has no GPU that torch can use")


def _is_here(host: Any) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse(host: Any) -> None:
    pytest.fail(f"a test reached for {host}: the suite runs offline, only this machine's own addresses are open to it")


def _guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guard(self: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple) and not _is_here(address[0]):
            _refuse(address)
        return connect(self, address)

    return guard


def _guarded_lookup(lookup: Callable[..., Any]) -> Callable[..., Any]:
    def guard(host: Any, *args: Any, **options: Any) -> Any:
        if not _is_here(host):
            _refuse(host)
        return lookup(host, *args, **options)

    return guard


@pytest.fixture(scope="session", autouse=True)
def _signals() -> None:
    """Signals as a terminal gives them, in processes that tests start as well.

    Started in the background of a shell, or by ``nohup``, a process inherits that some of them are ignored.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No network but this machine's own addresses, no model hub, and a cache that starts empty and is thrown away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", _guarded(socket.socket.connect_ex))
        patch.setattr(socket, "getaddrinfo", _guarded_lookup(socket.getaddrinfo))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("KILAT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _shared(name: str, config: pytest.Config) -> Path:
    """The folder of a shared data set: where it was unpacked before, or unpacked now if such tests were asked for."""
    for place in filter(None, PLACES):
        if (folder := Path(place) / name).is_dir():
            return folder
    if UNPACK.is_file() and _chosen(config, "data"):
        return Path(subprocess.check_output([UNPACK, next(filter(None, PLACES)), name], text=True).strip()) / name
    pytest.skip(f"the shared pictures '{name}' are not here: set KILAT_DATA to the folder that holds {name}/")


@pytest.fixture(scope="session")
def flowers(pytestconfig: pytest.Config) -> Path:
    """3,670 photos in five class folders."""
    return _shared("flowers", pytestconfig)


@pytest.fixture(scope="session")
def cifar10(pytestconfig: pytest.Config) -> Path:
    """CIFAR-10 as ``train/`` and ``test/`` with class folders."""
    return _shared("cifar10", pytestconfig)


@pytest.fixture(scope="session")
def fashion_mnist(pytestconfig: pytest.Config) -> Path:
    """The four IDX files of Fashion-MNIST."""
    return _shared("fashion-mnist", pytestconfig)
