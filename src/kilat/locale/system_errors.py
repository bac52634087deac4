"""What the operating system says of a file that cannot be read or written: Python has it in English alone."""

from kilat.locale import N_, _

SYSTEM_ERRORS = (
    N_("no such file or directory"), N_("permission denied"), N_("operation not permitted"), N_("is a directory"),
    N_("not a directory"), N_("file exists"), N_("file name too long"), N_("no space left on device"),
    N_("disk quota exceeded"), N_("read-only file system"), N_("input/output error"), N_("too many open files"),
    N_("too many levels of symbolic links"), N_("device or resource busy"), N_("stale file handle"),
    N_("cannot allocate memory"), N_("invalid argument"), N_("connection timed out"), N_("connection refused"),
    N_("bad file descriptor"),
)  # fmt: skip


def system_reason(said: OSError | str) -> str:
    """Return why it could not be done, in the language of the environment; as the system said it where that is rare."""
    text = said if isinstance(said, str) else said.strerror or str(said)
    return _(text.lower()) if text.lower() in SYSTEM_ERRORS else text


def file_reason(error: OSError) -> str:
    """Return which file or folder could not be used, and why."""
    return f"{error.filename}: {system_reason(error)}" if error.filename else system_reason(error)
