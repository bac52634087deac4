"""Hostile files end no run: 0 deaths, 0 hangs, 0 tracebacks, and never 1.5 GB above an ordinary run of the same verb.

Every case is a file that claims, repeats, nests or unpacks without measure (``tests/hostile_inputs``), given to a verb
in a process of its own: pictures one by one between two good ones, and all at once in a folder that every verb reads;
archives and tables of ten good pictures and hostile ones; model files; and pipes, devices and endless files in every
place where a command takes a file. Memory is that of all processes together (proportional set size, looked at every
20 ms), time that of the processor; a hang is a file of more than 10 seconds beyond the ordinary run. Then mutants of
good files are read in this process: whatever is raised but a sentence counts.

    python benchmarks/hostile.py                       everything, about an hour on two cores
    python benchmarks/hostile.py --kinds tables --mutants 0
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import _measure as measure

sys.path.insert(0, str(measure.HERE.parent / "tests"))

from hostile_inputs.floods import KINDS, flood
from hostile_inputs.judge import MOST_MEMORY, MOST_SECONDS, Judged, every
from hostile_inputs.watch import Limits, kilat

_MUTANTS = 20_000


def main() -> None:
    """Judge the corpus, end verbs by Ctrl-C, and read mutants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", help="only these, such as archives")
    parser.add_argument("--mutants", type=int, default=_MUTANTS, help="how many in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print every case")
    args = parser.parse_args()
    measure.print_header(__doc__)
    with tempfile.TemporaryDirectory() as workdir:
        run = _trained(Path(workdir))
        kinds = every(run)
        chosen = [name for name in kinds if args.kinds is None or any(one in name for one in args.kinds)]
        found = []
        titles = "".join(f"{title:>11}" for title in ("deaths", "hangs", "tracebacks", "other"))
        print(f"{'kind':26} {'n':>4}{titles} {'peak above':>11}  slowest")
        for name in chosen:
            with tempfile.TemporaryDirectory(dir=workdir) as folder:
                judged = list(_printed(kinds[name](Path(folder)), verbose=args.verbose))
            print(_line(name, judged), flush=True)
            found += judged
        for one in found:
            if one.problems:
                print(f"MISSED    {one}")
        _conclude(found)
        if args.mutants:
            _flood(Path(workdir), run, args.mutants, args.seed)


def _trained(folder: Path) -> Path:
    """Return the folder of a small finished run, of scikit-learn's digits."""
    done = kilat(
        "train", "digits", "--size", 32, "--runs", folder / "runs", "--name", "digits", limits=Limits(600, 300)
    )
    if done.code:
        sys.exit(f"the ordinary training failed:\n{done}")
    return folder / "runs" / "digits"


def _printed(judged: Iterable[Judged], *, verbose: bool) -> Iterable[Judged]:
    for one in judged:
        if verbose:
            print(one, flush=True)
        yield one


def _line(name: str, judged: list[Judged]) -> str:
    """Return a row of the table."""
    slowest = max(judged, key=lambda one: one.cpu)
    counts = [sum(test(one) for one in judged) for test in (_died, _hung, _raised)]
    other = sum(bool(one.problems) for one in judged) - sum(_died(one) or _hung(one) or _raised(one) for one in judged)
    peak = max(one.memory for one in judged) / 1e6
    return (
        f"{name:26} {len(judged):>4} {counts[0]:>10} {counts[1]:>10} {counts[2]:>10} {other:>10} {peak:>8,.0f} MB  "
        f"{slowest.cpu:.1f} s {slowest.name}"
    )


def _died(one: Judged) -> bool:
    return one.watched.code < 0 and not one.watched.was_killed


def _hung(one: Judged) -> bool:
    return one.watched.was_killed or one.cpu > MOST_SECONDS


def _raised(one: Judged) -> bool:
    return any("Traceback" in problem for problem in one.problems)


def _conclude(found: list[Judged]) -> None:
    if not found:
        return
    deaths, hangs, tracebacks = (sum(map(test, found)) for test in (_died, _hung, _raised))
    peak = max(one.memory for one in found)
    claim = f"0 deaths, 0 hangs, 0 tracebacks, ≤ {MOST_MEMORY / 1e9:.1f} GB above an ordinary run (n={len(found)})"
    said = f"{deaths} deaths, {hangs} hangs, {tracebacks} tracebacks, {peak / 1e9:.2f} GB"
    measure.verdict(claim, said, deaths + hangs + tracebacks == 0 and peak <= MOST_MEMORY)
    missed = sum(bool(one.problems) for one in found)
    measure.verdict("every good picture answered, every file accounted for", f"{missed} cases missed", missed == 0)


def _flood(workdir: Path, run: Path, mutants: int, seed: int) -> None:
    faults = 0
    for kind in KINDS:
        with tempfile.TemporaryDirectory(dir=workdir) as folder:
            begun = time.process_time()
            found = flood(kind, Path(folder), run, mutants // len(KINDS), seed)
            seconds = time.process_time() - begun
        print(
            f"mutants   {kind:14} n={found.count:,}, refused {found.refused:,}, slowest {found.slowest:.2f} s, "
            f"in {seconds:.0f} s; {len(found.faults)} faults"
        )
        for fault in found.faults:
            print(f"MISSED    {kind} {fault}")
        faults += len(found.faults)
    measure.verdict(f"{mutants:,} mutants: 0 uncaught", f"{faults} faults", faults == 0)


if __name__ == "__main__":
    main()
