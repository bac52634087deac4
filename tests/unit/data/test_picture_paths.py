"""The pictures in a list of files and folders: given files as they are, folders in the order of their names."""

from pathlib import Path

import pytest

from kilat.data.picture_paths import list_pictures
from kilat.errors import SourceError


def made(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_folders_give_their_pictures_in_order_and_files_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = made(
        tmp_path, "b/2.jpg", "b/1.png", "a/deep/3.webp", "a/notes.txt", ".hidden/4.jpg", "a/.5.jpg", "odd.bin"
    )
    paths = list_pictures([folder / "odd.bin", folder, Path("nowhere.jpg")])
    assert paths == [
        str(tmp_path / "odd.bin"),
        *(str(tmp_path / name) for name in ("a/deep/3.webp", "b/1.png", "b/2.jpg")),
        "nowhere.jpg",
    ]


def test_without_any_picture_the_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="There are no pictures in") as caught:
        list_pictures([made(tmp_path / "a", "x.txt"), made(tmp_path / "b", "y.csv")])
    assert str(tmp_path / "b") in caught.value.message
