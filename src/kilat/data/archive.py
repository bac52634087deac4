"""A zip or tar archive as a source, read in place: nothing is unpacked to disk, and no path in it is followed."""

import weakref
from collections import Counter
from pathlib import Path

from kilat.data.archive_formats import READ_ERRORS, ArchiveFile, Member
from kilat.data.bounds import DEEPEST, LONGEST_PATH, MOST_MEMBERS
from kilat.data.catalog import UNLABELLED, Entry
from kilat.data.image_file import has_image_signature, kind_of_file, printable
from kilat.data.layout.layout import EMPTY_CLASS, HIDDEN, OTHER, Layout, sorted_order
from kilat.data.layout.tree import Companions, FoundFile, join_path
from kilat.data.tar_archive import TarArchive
from kilat.data.zip_archive import ZipArchive
from kilat.errors import PictureError, SourceError
from kilat.locale import _, ngettext
from kilat.locale.excerpt import shortened
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal
from kilat.locale.system_errors import system_reason
from kilat.runtime.progress import Advance, ignore

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
SUFFIXES = (".zip", *TAR_SUFFIXES)


class ArchiveSource:
    """Pictures inside a zip or tar archive, laid out like a folder of class folders.

    Entries stand in the order of `FolderSource`, those of a compressed tar in the order of the archive, which can only
    be read forwards. ``read`` is for one thread.

    Args:
        path: the archive.
        name: what to call it; the file's name without its endings if empty.
        class_from: what names the class, one of ``kilat.data.reading.CLASS_FROM``; None to find out.
        advance: called with the bytes of a compressed tar that were searched, and all its bytes.

    Attributes:
        skipped: how many files did not come in as pictures, by a code of ``kilat.data.layout.layout``.
        layout: what its folders say of the pictures.
    """

    def __init__(
        self, path: str | Path, name: str = "", class_from: str | None = None, advance: Advance = ignore
    ) -> None:
        self._path = Path(path)
        self.name = name or stem(self._path.name)
        kind = "zip" if self._path.name.lower().endswith(".zip") else "tar"
        try:
            self._archive: ArchiveFile = ZipArchive(self._path) if kind == "zip" else TarArchive(self._path, advance)
        except READ_ERRORS as error:
            raise SourceError(
                _("{path} cannot be opened as a {kind} archive: {error}.").format(
                    path=self._path, kind=kind, error=_reason(error)
                ),
                hint=_(
                    "It may be cut off or have the wrong name: copy or download it again, or give the unpacked folder."
                ),
            ) from error
        try:
            scan = _Scan(self._path, self._archive)
        except BaseException:
            self._archive.close()
            raise
        weakref.finalize(self, self._archive.close)
        self.layout = Layout(scan.found, scan.folders, scan.companions, class_from)
        entries = self.layout.entries + [Entry(printable(name), "", refused=refusal) for name, refusal in scan.outside]
        positions = scan.positions + [(0, 0)] * len(scan.outside)
        order = list(range(len(entries))) if self._archive.sequential else sorted_order(entries)
        self.entries = [entries[i] for i in order]
        self._positions = [positions[i] for i in order]
        self.skipped = dict(scan.skipped)
        self.notes: list[Note] = self.layout.notes
        if self.layout.empty_classes:
            self.skipped[EMPTY_CLASS] = self.layout.empty_classes

    def read(self, index: int) -> bytes:
        """Return the bytes of the picture."""
        entry, (position, size) = self.entries[index], self._positions[index]
        if entry.refused and entry.refused.code not in UNLABELLED:
            raise PictureError(entry.refused.code, entry.refused.detail)
        try:
            content = self._archive.read(position, size)
        except MemoryError:
            raise PictureError("out_of_memory") from None
        except READ_ERRORS as error:
            raise PictureError("damaged_in_archive", _reason(error)) from error
        if len(content) != size:
            raise PictureError("truncated", f"{len(content)}/{size} bytes")
        if not content:
            raise PictureError("empty_file")
        return content

    def link(self, index: int) -> str | None:
        """Return None: a picture in an archive has no file of its own."""
        return None

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()


def stem(name: str) -> str:
    """Return the archive's name without its endings: ``flowers`` for ``flowers.tar.gz``."""
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)] or name


class _Scan:
    """One pass over the members: the pictures with their positions, the folders, and what was skipped."""

    def __init__(self, path: Path, archive: ArchiveFile) -> None:
        self.found: list[FoundFile] = []
        self.positions: list[tuple[int, int]] = []
        self.outside: list[tuple[str, Refusal]] = []
        self.folders: dict[str, None] = {}
        self.skipped: Counter[str] = Counter()
        self.companions = Companions()
        self._hidden: set[str] = set()
        self._number: dict[str, int] = {}
        try:
            for number, member in enumerate(archive.members()):
                if number == MOST_MEMBERS:
                    raise SourceError(
                        _("{path} has more than {count:,} members.").format(path=path, count=MOST_MEMBERS),
                        hint=_("Pack it as several archives, or unpack it and give the folder."),
                    )
                self._take(member)
        except READ_ERRORS as error:
            raise SourceError(
                ngettext(
                    "{path} is cut off or damaged after one picture: {error}.",
                    "{path} is cut off or damaged after {count:,} pictures: {error}.",
                    len(self.found),
                ).format(path=path, count=len(self.found), error=_reason(error)),
                hint=_("Copy or download it again."),
            ) from error

    def _take(self, member: Member | str) -> None:
        name = member if isinstance(member, str) else member.name
        try:
            parts = _parts_inside(name)
        except PictureError as error:
            if isinstance(member, Member):
                self.outside.append((name if len(name) <= LONGEST_PATH else shortened(name), error.refusal))
            return
        if self._is_hidden(parts):
            return
        self._take_folder(parts if isinstance(member, str) else parts[:-1])
        if isinstance(member, str) or not parts:
            return
        kind = kind_of_file(parts[-1])
        if kind != "picture" and not (kind == "unknown" and (member.refused or has_image_signature(member.head()))):
            self.skipped[OTHER] += 1
            if kind == "other":
                self.companions.add("/".join(parts))
            return
        path = "/".join(parts)
        if path in self._number:
            self.found[self._number[path]] = FoundFile(path, Refusal("replaced_in_archive"))
        self._number[path] = len(self.found)
        self.found.append(FoundFile(path, member.refused))
        self.positions.append((member.position, member.size))

    def _take_folder(self, parts: list[str]) -> None:
        """Take a folder and those around it."""
        if "/".join(parts) in self.folders:
            return
        folder = ""
        for part in parts:
            folder = join_path(folder, part)
            self.folders[folder] = None

    def _is_hidden(self, parts: list[str]) -> bool:
        """Return whether a part is a helper; each is counted once, however much is inside, as in a folder on disk."""
        for depth, part in enumerate(parts, 1):
            if kind_of_file(part) == "helper":
                path = "/".join(parts[:depth])
                self.skipped[HIDDEN] += path not in self._hidden
                self._hidden.add(path)
                return True
        return False


def _parts_inside(name: str) -> list[str]:
    """Return the components of a member's path.

    Raises:
        PictureError: the path is absolute or leads out of the archive, or it is longer than any path on a disk.
    """
    if len(name) > LONGEST_PATH:
        raise PictureError("path_too_long", f"{LONGEST_PATH:,}")
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or ".." in parts or parts[0][1:2] == ":":
        raise PictureError("outside_archive")
    parts = [part for part in parts if part not in ("", ".")]
    if len(parts) > DEEPEST:
        raise PictureError("folders_too_deep", f"{DEEPEST:,}")
    return parts


def _reason(error: Exception) -> str:
    """Return what reading raised, as a part of a sentence."""
    if isinstance(error, OSError) and error.strerror:
        return system_reason(error)
    return str(error) or type(error).__name__
