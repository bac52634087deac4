"""`make demo` takes at most 700 MB, no torch, and no longer than installing torch, torchvision and timm alone.

In turn, each from nothing: `make demo` in a copy of this checkout, which makes an environment, installs the core into
it and trains on the handwritten digits; and a new environment, into which torch, torchvision and timm are installed,
once with pip and once with uv, the installer that `make demo` fetches for itself (the time to fetch it counts for
both). Caches of pip, of uv and of kilat start empty every time. Sizes are those of the environments on the disk.
Versions come from requirements.lock. Needs a network with a package index; much of the time is the network's.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import _measure as measure

Maker = Callable[[Path], tuple[float, Path]]
"""Makes an environment in a folder; returns the seconds it took, and where it is."""

PEERS = ("torch", "torchvision", "timm")
MOST = 700e6
_CHECKOUT = measure.HERE.parent
_IGNORED = shutil.ignore_patterns(".git", ".venv", "runs", "build", "dist", "__pycache__", ".*_cache", "*.egg-info")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--installer", choices=["pip", "uv"], action="append", help="of the peer; both by default")
    parser.add_argument("--peer", nargs="+", default=PEERS, help="the packages to compare with")
    args = parser.parse_args()
    if not (_CHECKOUT / "Makefile").is_file() or not shutil.which("make"):
        measure.skip("this needs a checkout with its Makefile, and make")
    measure.print_header(__doc__)
    print(f"peer      {', '.join(pinned(args.peer))}")
    print(f"n         {args.rounds} rounds")
    ours = "make demo (install and run)"
    attempts = {ours: Attempt(demo)}
    for installer in args.installer or ("pip", "uv"):
        attempts[f"{installer} install {' '.join(args.peer)}"] = Attempt(peer(installer, args.peer))
    samples = measure.interleave(args.rounds, {name: attempt.seconds for name, attempt in attempts.items()})
    for name, seconds in samples.items():
        print(f"  {name:45} {measure.summary(seconds, digits=1)}   {attempts[name].size / 1e6:,.0f} MB")
    size, packages = attempts[ours].size, attempts[ours].packages
    measure.verdict(f"the environment takes ≤ {MOST / 1e6:.0f} MB", f"{size / 1e6:,.0f} MB", size <= MOST)
    brought = sorted(name for name in packages if name.startswith(("torch", "nvidia", "triton")))
    measure.verdict("it brings no torch", f"{len(packages)} packages, {brought or 'no torch'}", not brought)
    for name in list(attempts)[1:]:
        value, words = measure.ratio(samples[ours], samples[name])
        measure.verdict(f"make demo ≤ 1 × {name}", words, value <= 1)


class Attempt:
    """Makes an environment from nothing, in a folder that is removed afterwards."""

    def __init__(self, make: Maker) -> None:
        self.make = make
        self.size = 0
        self.packages: set[str] = set()

    def seconds(self) -> float:
        """Return how long it took, and keep its size and packages."""
        with tempfile.TemporaryDirectory() as workdir:
            seconds, environment = self.make(Path(workdir))
            self.size = measure.disk_usage(environment)
            self.packages = {
                match[1].lower()
                for folder in environment.glob("lib/python*/site-packages/*.dist-info")
                if (match := re.match(r"(.+?)-\d", folder.name))
            }
        return seconds


def demo(workdir: Path) -> tuple[float, Path]:
    """Run `make demo` in a copy of the checkout; return its seconds and its environment."""
    checkout = workdir / "kilat"
    shutil.copytree(_CHECKOUT, checkout, ignore=_IGNORED, symlinks=True)
    command = ["make", "--no-print-directory", "demo", f"PYTHON={base_python()}"]
    return measure.run(command, cwd=checkout, environment=empty_caches(workdir)).seconds, checkout / ".venv"


def peer(installer: str, packages: tuple[str, ...]) -> Maker:
    """Return what makes a new environment with the packages of the peer."""

    def make(workdir: Path) -> tuple[float, Path]:
        environment = workdir / "peer"
        python = environment / "bin" / "python"
        wanted = " ".join(pinned(packages))
        steps = {
            "pip": f"{base_python()} -m venv {environment} && {python} -m pip install --quiet {wanted}",
            "uv": f"{base_python()} -m venv --without-pip {environment} && "
            f"{base_python()} -m pip --python {python} install --quiet --no-compile {' '.join(pinned(('uv',)))} && "
            f"{environment}/bin/uv pip install --quiet --python {python} {wanted}",
        }
        return measure.run(["sh", "-ec", steps[installer]], environment=empty_caches(workdir)).seconds, environment

    return make


def empty_caches(workdir: Path) -> dict[str, str]:
    """Return environment variables that give pip, uv and kilat empty caches."""
    caches = {name: str(workdir / "caches" / name) for name in ("PIP_CACHE_DIR", "UV_CACHE_DIR", "KILAT_CACHE")}
    return {**caches, "UV_HTTP_TIMEOUT": os.environ.get("UV_HTTP_TIMEOUT", "180"), "MAKEFLAGS": "", "VIRTUAL_ENV": ""}


def base_python() -> str:
    """Return the interpreter that this environment was made with."""
    probe = "import sys; print(sys._base_executable)"
    return subprocess.check_output([sys.executable, "-c", probe], text=True).strip()


def pinned(packages: tuple[str, ...]) -> list[str]:
    """Return packages with their versions from requirements.lock."""
    lock = (_CHECKOUT / "requirements.lock").read_text()
    found = {name: re.search(rf"^{re.escape(name)}==\S+", lock, re.MULTILINE) for name in packages}
    return [match[0] if match else name for name, match in found.items()]


if __name__ == "__main__":
    main()
