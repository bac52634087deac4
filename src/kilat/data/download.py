"""Files from the network, resumed where they were cut off, and kept only when their checksum is right."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kilat.errors import SourceError
from kilat.locale import _
from kilat.runtime.progress import Advance

_CHUNK = 1024 * 1024
_SECONDS_OF_SILENCE = 15


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
        """The name under which it is kept."""
        return self.url.rpartition("/")[2]


class CutOffError(Exception):
    """The connection failed or ended early; what came stays for the next attempt."""


def fetch(download: RemoteFile, folder: Path, advance: Advance | None = None) -> Path:
    """The file in ``folder``, downloaded if it is not there yet.

    An interrupted download stays as ``<name>.part`` and is gone on with, in this call or a later one.

    Raises:
        SourceError: the network does not answer, what came has another checksum, or it cannot be written.
    """
    target = folder / download.filename
    part = folder / f"{download.filename}.part"
    try:
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _obtain(download, part, advance)
            os.replace(part, target)
    except OSError as error:
        raise SourceError(
            _("{target} cannot be written: {reason}.").format(target=target, reason=error.strerror),
            hint=_("Make room or choose another folder for downloads with the environment variable KILAT_CACHE."),
        ) from error
    return target


def _obtain(download: RemoteFile, part: Path, advance: Advance | None) -> None:
    resumed = part.exists()
    _complete(download, part, advance)
    if resumed and not _is_right(download, part):
        # The beginning may be of another version of the file: once more, from the start.
        part.unlink()
        _complete(download, part, advance)
    if not _is_right(download, part):
        part.unlink()
        raise SourceError(
            _("What {url} sent is not the known file: its SHA-256 is not {sha256}. It was deleted.").format(
                url=download.url, sha256=download.sha256
            ),
            hint=_("Try again later; if it happens again, the file was changed or something on the way replaces it."),
        )


def _complete(download: RemoteFile, part: Path, advance: Advance | None) -> None:
    """Fills the part file up to the known size, over as many connections as bring it further."""
    before = _size(part)
    while True:
        try:
            return _receive(download, part, advance)
        except CutOffError as error:
            here = _size(part)
            if here > before:
                before = here
                continue
            kept = f" {here} of {download.size} bytes are here and are kept." if here else ""
            raise SourceError(
                _("{url} could not be downloaded: {error}.{kept}").format(url=download.url, error=error, kept=kept),
                hint=_("Connect to the network and run the same command again."),
            ) from error


def _receive(download: RemoteFile, part: Path, advance: Advance | None) -> None:
    here = _size(part)
    if here > download.size:
        part.unlink()
        here = 0
    if here == download.size:
        return
    answer = _ask(download.url, here)
    if answer is None:
        part.unlink()
        raise CutOffError("the server has less of it than is here already")
    with answer:
        # A server that knows no ranges sends everything, with 200 instead of 206.
        here = here if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        with part.open("ab" if here else "wb") as file:
            for chunk in _chunks(answer, download.size - here):
                file.write(chunk)
                here += len(chunk)
                if advance:
                    advance(here, download.size)
    if here < download.size:
        raise CutOffError(f"the connection ended after {here} of {download.size} bytes")


def _ask(url: str, start: int) -> http.client.HTTPResponse | None:
    """The answer from that byte on, or None where the server has nothing there."""
    # The addresses are constants in kilat.data.datasets, all of them http or https.
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_SECONDS_OF_SILENCE)  # noqa: S310
        return answer
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise CutOffError(f"the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise CutOffError(str(error.reason)) from error
    except (http.client.HTTPException, OSError) as error:
        raise CutOffError(str(error) or type(error).__name__) from error


def _chunks(answer: http.client.HTTPResponse, most: int) -> Iterator[bytes]:
    """What the server sends, up to that many bytes."""
    while most > 0:
        try:
            chunk = answer.read(min(_CHUNK, most))
        except (http.client.HTTPException, OSError) as error:
            raise CutOffError(str(error) or type(error).__name__) from error
        if not chunk:
            return
        most -= len(chunk)
        yield chunk


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _is_right(download: RemoteFile, part: Path) -> bool:
    with part.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == download.sha256
