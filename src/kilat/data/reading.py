"""What a user says about how data is to be read; what is left out, kilat finds by itself."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from kilat.errors import SourceError, nearest
from kilat.locale import _

CLASS_FROM = ("first-folder", "last-folder", "folders", "file-name")
"""What names the class of a picture: the first folder below the data and its splits, the last one, all of them joined,
or the picture's own name without the number at its end."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How data is read, where the user said it; None where kilat finds out.

    Args:
        path_column: the column of a table that names the pictures: its name, or its number from 1.
        label_column: the column with their labels.
        split_column: the column that says train, validation or test.
        images: the folder with the pictures that a table names.
        class_from: what names the class of a picture in a folder or archive, one of ``CLASS_FROM``.
        is_labelled: whether labels are needed; without, a table may have none.
    """

    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    images: str | None = None
    class_from: str | None = None
    is_labelled: bool = True

    @classmethod
    def of(
        cls,
        path_column: str | None = None,
        label_column: str | None = None,
        split_column: str | None = None,
        images: str | Path | None = None,
        class_from: str | None = None,
    ) -> "Reading":
        """Return what was said in the arguments of a verb.

        Raises:
            SourceError: ``class_from`` is none of ``CLASS_FROM``.
        """
        if class_from not in (None, *CLASS_FROM):
            raise SourceError(
                _("The class cannot be taken from {name!r}.").format(name=class_from),
                hint=nearest(class_from, CLASS_FROM),
            )
        return cls(path_column, label_column, split_column, None if images is None else str(images), class_from)

    @property
    def options(self) -> list[str]:
        """The options that were given, as they are written on the command line."""
        given = [field.name for field in fields(self) if isinstance(getattr(self, field.name), str)]
        return [f"--{name.replace('_', '-')}" for name in given]

    @property
    def table_options(self) -> list[str]:
        """Those of them that say how a table is read."""
        return [option for option in self.options if option != "--class-from"]

    def anywhere(self) -> "Reading":
        """Return the same for whoever stands in another folder: with absolute paths."""
        return self if self.images is None else replace(self, images=str(Path(self.images).resolve()))
