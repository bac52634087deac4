"""Files from the network: downloads are resumed where they were cut off, and kept only with the right checksum."""

import errno
import hashlib
import http.client
import os
import stat
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from kilat.errors import SourceError
from kilat.locale import _
from kilat.locale.system_errors import system_reason
from kilat.runtime.file_lock import HeldError, file_lock
from kilat.runtime.progress import Advance

_CHUNK = 1024 * 1024
_TIMEOUT = 15


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at its official address.

    Args:
        url: the address.
        size: its bytes.
        sha256: its checksum, hexadecimal.
    """

    url: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """The name of its copy."""
        return self.url.rpartition("/")[2]


class ConnectionLostError(Exception):
    """The connection failed or ended early; what was received stays for the next attempt."""


def fetch(file: RemoteFile, folder: Path, advance: Advance | None = None) -> Path:
    """Return the file in ``folder``, downloaded if it is not there yet.

    An interrupted download stays as ``<name>.part`` and is resumed, in this call or a later one.

    Raises:
        SourceError: the network does not answer, the file has another checksum, it cannot be written, or another
            process downloads it.
    """
    target = folder / file.filename
    part = folder / f"{file.filename}.part"
    try:
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with file_lock(folder / f"{file.filename}.lock", wait=False):
                if not target.exists():  # which another process may have brought about
                    _download(file, part, target, advance)
    except HeldError as error:
        raise SourceError(
            _("{target} is being downloaded by {holder}.").format(target=target, holder=error.holder),
            hint=_("Run the same command again when that is done."),
        ) from None
    except OSError as error:
        raise SourceError(
            _("{target} cannot be written: {reason}.").format(target=target, reason=system_reason(error)),
            hint=_("Make room or choose another folder for downloads with the environment variable KILAT_CACHE."),
        ) from error
    return target


def _download(file: RemoteFile, part: Path, target: Path, advance: Advance | None) -> None:
    """Download a file, or the rest of it, and give it its name once it is the right one."""
    if os.path.lexists(part) and not stat.S_ISREG(part.lstat().st_mode):
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), part)  # what a link leads to is not kilat's
    is_resumed = part.exists()
    _complete(file, part, advance)
    if is_resumed and not _is_right(file, part):
        # The beginning may be of another version of the file: once more, from the start.
        part.unlink()
        _complete(file, part, advance)
    if not _is_right(file, part):
        part.unlink()
        raise SourceError(
            _("The file from {url} is not the known one: its SHA-256 is not {sha256}. It was deleted.").format(
                url=file.url, sha256=file.sha256
            ),
            hint=_("Try again later. If it happens again, the file was changed, or a proxy replaces it."),
        )
    os.replace(part, target)


def _complete(file: RemoteFile, part: Path, advance: Advance | None) -> None:
    """Download the rest of the part file, over new connections as long as each of them brings some of it."""
    before = _size(part)
    while True:
        try:
            return _receive(file, part, advance)
        except ConnectionLostError as error:
            here = _size(part)
            if here > before:
                before = here
                continue
            message = _("{url} could not be downloaded: {error}.").format(url=file.url, error=error)
            if here:
                kept = _("{received:,} of {size:,} bytes were received and are kept.")
                message += " " + kept.format(received=here, size=file.size)
            raise SourceError(
                message,
                hint=_("Connect to the network and run the same command again."),
            ) from error


def _receive(file: RemoteFile, part: Path, advance: Advance | None) -> None:
    here = _size(part)
    if here > file.size:
        part.unlink()
        here = 0
    if here == file.size:
        return
    response = _request(file.url, here)
    if response is None:
        part.unlink()
        raise ConnectionLostError(_("the server has less of it than was received before"))
    with response:
        # A server that knows no ranges sends everything, with 200 instead of 206.
        here = here if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        with part.open("ab" if here else "wb") as output:
            while here < file.size:
                try:
                    chunk = response.read(min(_CHUNK, file.size - here))
                except (http.client.HTTPException, OSError) as error:
                    raise ConnectionLostError(str(error) or type(error).__name__) from error
                if not chunk:
                    break
                output.write(chunk)
                here += len(chunk)
                if advance:
                    advance(here, file.size)
    if here < file.size:
        ended = _("the connection ended after {received:,} of {size:,} bytes")
        raise ConnectionLostError(ended.format(received=here, size=file.size))


def _request(url: str, start: int) -> http.client.HTTPResponse | None:
    """Return the response from that byte on, or None where the server has nothing there."""
    # The addresses are constants in kilat.data.datasets, all of them http or https.
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
        return response
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        answer = _("the server answers {code} {reason}").format(code=error.code, reason=error.reason)
        raise ConnectionLostError(answer) from error
    except urllib.error.URLError as error:
        raise ConnectionLostError(str(error.reason)) from error
    except (http.client.HTTPException, OSError) as error:
        raise ConnectionLostError(str(error) or type(error).__name__) from error


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _is_right(file: RemoteFile, part: Path) -> bool:
    with part.open("rb") as received:
        return hashlib.file_digest(received, "sha256").hexdigest() == file.sha256
