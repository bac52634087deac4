"""The tree of folders that pictures stand in, on disk or in an archive, and the files that lie beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kilat.locale.refusals import Refusal

_TABLES = (".csv", ".tsv", ".tab", ".psv", ".parquet", ".jsonl", ".ndjson", ".xlsx", ".xls", ".ods")
_TEXTS = (".txt", ".lst", ".xml", ".json", ".yaml", ".yml")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst", ".rar", ".7z")

_TEXTS_KEPT = 20


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that came in as a picture.

    Args:
        path: from the root, with ``/``.
        refused: why it is refused before it is read; None where it is not.
    """

    path: str
    refused: Refusal | None = None


@dataclass(slots=True, eq=False)
class Folder:
    """A folder that has pictures in it, at any depth.

    Args:
        path: from the root, empty for the root itself.
        direct: how many pictures stand in it directly.
        inner: the folders in it that have pictures, by name.
    """

    path: str = ""
    direct: int = 0
    inner: "dict[str, Folder]" = field(default_factory=dict)

    @classmethod
    def tree(cls, found: Sequence[FoundFile]) -> "Folder":
        """Return the root of the folders that these pictures stand in."""
        root = cls()
        known = {"": root}
        for item in found:
            folder = item.path.rpartition("/")[0]
            if folder not in known:
                above, path = root, ""
                for name in split_path(folder):
                    path = join_path(path, name)
                    above = known[path] = above.inner.setdefault(name, cls(path))
            known[folder].direct += 1
        return root

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.rpartition("/")[2]

    @property
    def count(self) -> int:
        """How many pictures are in it, at any depth."""
        return self.direct + sum(folder.count for folder in self.inner.values())

    @property
    def folders(self) -> "list[Folder]":
        """The folders in it that have pictures, by name."""
        return [self.inner[name] for name in sorted(self.inner)]

    @property
    def leaves(self) -> "list[Folder]":
        """The folders at any depth that pictures stand in directly, itself among them."""
        return [self] * bool(self.direct) + [leaf for folder in self.folders for leaf in folder.leaves]


class Companions:
    """The files beside the pictures that say what the pictures are: tables, archives, annotations.

    Attributes:
        tables: paths of tables, spreadsheets among them.
        archives: paths of archives.
    """

    def __init__(self) -> None:
        self.tables: list[str] = []
        self.archives: list[str] = []
        self._texts: dict[tuple[str, str], list[str]] = {}

    def add(self, path: str) -> None:
        """Take a file that is not a picture."""
        folder, _, name = path.rpartition("/")
        lower = name.lower()
        if is_table(lower):
            self.tables.append(path)
        elif lower.endswith(_ARCHIVES):
            self.archives.append(path)
        elif lower.endswith(_TEXTS):
            # There may be one for each picture.
            kept = self._texts.setdefault((folder, lower.rpartition(".")[2]), [])
            kept.append(path)
            if len(kept) > 2 * _TEXTS_KEPT:
                kept[:] = sorted(kept)[:_TEXTS_KEPT]

    @property
    def texts(self) -> list[str]:
        """Paths of text, XML, JSON and YAML files: of each kind in each folder the first by name."""
        return [path for kept in self._texts.values() for path in sorted(kept)[:_TEXTS_KEPT]]


def is_table(name: str) -> bool:
    """Return whether a file is a table or a spreadsheet by its name; a text may be one, too."""
    return name.lower().endswith(_TABLES)


def join_path(folder: str, name: str) -> str:
    """Return ``folder/name``, where the root is the empty string."""
    return f"{folder}/{name}" if folder else name


def split_path(path: str) -> list[str]:
    """Return the components of a path; none for the root."""
    return path.split("/") if path else []
