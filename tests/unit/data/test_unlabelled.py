"""Pictures of any source, labels ignored: files as given, folders in the order of their names, archives."""

import zipfile
from pathlib import Path

import pytest

from kilat.data.arrays import PathsSource
from kilat.data.unlabelled import open_unlabelled
from kilat.errors import PictureError, SourceError


def made(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name.encode())
    return path


def refusals(pictures: object) -> dict[str, str]:
    read = zip(pictures.paths, pictures.read(), strict=True)
    return {path: found.refusal.code for path, found in read if isinstance(found, PictureError)}


def test_folders_give_their_pictures_in_order_and_files_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = made(
        tmp_path, "b/2.jpg", "b/1.png", "a/deep/3.webp", "a/notes.txt", ".hidden/4.jpg", "a/.5.jpg", "odd.bin"
    )
    pictures = open_unlabelled([folder / "odd.bin", folder, Path("nowhere.jpg")])
    assert pictures.paths == [
        str(tmp_path / "odd.bin"),
        *(str(tmp_path / name) for name in ("a/deep/3.webp", "b/1.png", "b/2.jpg")),
        "nowhere.jpg",
    ]
    assert refusals(pictures) == {"nowhere.jpg": "file_not_found"}
    assert next(pictures.read()) == b"odd.bin"


def test_an_archive_needs_no_class_folders(tmp_path: Path) -> None:
    for archive in (
        zipped(tmp_path / "flat.zip", "2.jpg", "1.jpg", "notes.txt"),
        zipped(tmp_path / "classes.zip", "a/1.jpg", "b/2.jpg"),
        zipped(tmp_path / "both.zip", "a/1.jpg", "b/1.jpg", "2.jpg"),
    ):
        pictures = open_unlabelled(archive)
        with zipfile.ZipFile(archive) as members:
            assert sorted(pictures.paths) == sorted(name for name in members.namelist() if name.endswith("jpg"))
        assert [content.decode() for content in pictures.read()] == pictures.paths


def test_several_sources_in_a_row(tmp_path: Path) -> None:
    folder = made(tmp_path / "folder", "x.jpg")
    pictures = open_unlabelled([zipped(tmp_path / "one.zip", "1.jpg"), folder, "digits"])
    assert pictures.paths[:3] == ["1.jpg", str(folder / "x.jpg"), "digits[0]"]
    assert len(pictures.paths) == 2 + 1797


def test_a_source_gives_each_picture_once(tmp_path: Path) -> None:
    folder = made(tmp_path, "1.jpg", "2.jpg")
    source = PathsSource([folder / "1.jpg", folder / "2.jpg", folder / "1.jpg"], ["a", "b", ""])
    assert open_unlabelled(source).paths == [str(folder / "1.jpg"), str(folder / "2.jpg")]


def test_without_any_picture_the_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="There are no pictures in") as caught:
        open_unlabelled([made(tmp_path / "a", "x.txt"), made(tmp_path / "b", "y.csv")])
    assert str(tmp_path / "b") in caught.value.message


def test_one_name_that_is_nowhere_is_an_error(tmp_path: Path) -> None:
    made(tmp_path, "photos/1.jpg")
    with pytest.raises(SourceError) as caught:
        open_unlabelled(tmp_path / "photo")
    assert "photos" in caught.value.hint


class TestAddresses:
    @pytest.mark.parametrize(
        ("address", "command"),
        [
            ("https://example.org/cat.jpg", "curl -L -O"),
            ("HTTP://example.org/cat.jpg?x=1", "curl -L -O"),
            ("www.example.org/cat.jpg", "curl -L -O"),
            ("s3://bucket/photos/", "aws s3 cp"),
            ("gs://bucket/photos", "gcloud storage cp"),
            ("data:image/png;base64,iVBORw0KGgo=", "Write the picture to a file"),
            ("file:///home/me/cat.jpg", "without 'file://'"),
        ],
    )
    def test_they_are_told_from_paths(self, address: str, command: str) -> None:
        for given in (address, [address], Path(address), [Path(address)]):
            with pytest.raises(SourceError, match="kilat does not download") as caught:
                open_unlabelled(given)
            assert command in caught.value.hint

    def test_among_files_one_is_refused(self, tmp_path: Path) -> None:
        picture = made(tmp_path, "1.jpg") / "1.jpg"
        pictures = open_unlabelled([picture, "https://example.org/cat.jpg"])
        assert refusals(pictures) == {"https://example.org/cat.jpg": "url"}

    def test_drives_and_files_with_colons_are_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(made(tmp_path, "data:1.jpg"))
        assert refusals(open_unlabelled(["data:1.jpg", "C:/photos/1.jpg", "a:b.jpg"])) == {
            "C:/photos/1.jpg": "file_not_found",
            "a:b.jpg": "file_not_found",
        }
