"""Standard streams: closed, full, without a reader, in ASCII; work goes on, and the exit code says what was lost."""

import os
import subprocess
import sys

import pytest

PROGRAM = "from kilat.cli import run; run()"


def kilat(line: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line of the shell in which ``"$@"`` is kilat with its arguments."""
    command = ["sh", "-c", line, "sh", sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    ("line", "code", "reason"),
    [
        ('"$@" >&-', 1, "Error: The output could not be written: bad file descriptor.\n"),
        ('"$@" >/dev/full', 1, "Error: The output could not be written: no space left on device.\n"),
        ('"$@" 2>&- <&-', 0, ""),
        ('"$@" 2>/dev/full >&-', 1, ""),
        ('{ "$@"; echo $? >&2; } | true', 0, "1\n"),
    ],
)
def test_what_was_not_written_is_said_by_the_exit_code(line, code, reason):
    done = kilat(line, "glossary")
    assert (done.returncode, done.stderr) == (code, reason)


def test_a_refused_command_says_so_wherever_its_words_go():
    assert kilat('"$@" 2>&-', "train", "--bogus").returncode == 2


def test_ascii_never_raises():
    narrow = {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = kilat('"$@"', "shape", "32x32, kernel 3, same", **narrow)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "32x32, kernel 3, stride 1, same \\u2192 32x32\n"
    assert kilat('"$@"', "glossary", "dropuot–", **narrow).stderr.startswith("Error: The glossary does not have")


def test_a_number_that_was_closed_is_given_to_no_other_file(tmp_path):
    program = (
        "import os, sys; from kilat.cli import streams; streams.make_harmless(); "
        "file = open(sys.argv[1], 'w'); print('lost'); sys.stdout.flush(); os.write(2, b'%d' % file.fileno())"
    )
    done = subprocess.run(
        ["sh", "-c", '"$@" >&- <&-', "sh", sys.executable, "-c", program, str(tmp_path / "kept")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stderr) > 2
    assert (tmp_path / "kept").read_text() == ""


def test_what_libraries_say_of_foreign_text_is_escaped():
    program = (
        "import logging, sys, warnings; from kilat.cli import streams; streams.make_harmless(); "
        "warnings.warn('a\\x1b[31m\\nb'); logging.getLogger('x').warning('c\\x1b[31m\\nd'); "
        "streams.print_traceback(ValueError('e\\x1b[31m')); sys.stderr.flush()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "UserWarning: a\\x1b[31m\\nb\n" in done.stderr
    assert "c\\x1b[31m\\nd\n" in done.stderr
    assert "ValueError: e\\x1b[31m\n" in done.stderr
