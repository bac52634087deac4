"""Findings as pages show them: what to do first stands first, and no page grows without end."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from kilat.check.finding import Finding
from kilat.data.catalog import Catalog, Entry
from kilat.locale.notes import Note
from kilat.report.findings import (
    GROUPS,
    ORDER,
    PATHS,
    PER_FINDING,
    PER_GROUP,
    PER_PAGE,
    NamedPicture,
    ShownFinding,
    read_and_show,
    select,
    selected_rows,
    show,
)
from kilat.report.pictures import SMALL, Thumbnail

VALUES: dict[str, dict[str, Any]] = {
    "blurred": {"count": 2},
    "near_duplicates": {"groups": 2, "pictures": 4},
    "refused": {"count": 21, "n": 40, "path": "000.png", "code": "empty_file", "detail": ""},
    "classes_alike": {"pairs": [{"classes": ["a", "b"], "share": 0.1, "n": 30, "suspected": 0}]},
    "imbalance": {"largest": "a", "smallest": "b", "counts": {"a": 90, "b": 9}, "section": "head"},
}


class Album:
    """Small grey pictures, some of which cannot be read; it remembers what was read."""

    def __init__(self, count: int, broken: tuple[int, ...] = ()) -> None:
        self.name, self.broken, self.read_rows = "album", broken, list[int]()
        self.skipped: dict[str, int] = {}
        self.notes: list[Note] = []
        self.entries = [Entry(f"{i:03d}.png", "ab"[i % 2], "train" if i % 3 else "test") for i in range(count)]

    def read(self, index: int) -> bytes:
        self.read_rows.append(index)
        if index in self.broken:
            return b"nothing"
        file = io.BytesIO()
        Image.new("L", (300, 200), index % 256).save(file, "PNG")
        return file.getvalue()

    def link(self, index: int) -> str | None:
        return f"/album/{index:03d}.png"


def finding(kind: str, severity: str = "warning", groups: tuple[tuple[int, ...], ...] = (), *captions: Any) -> Finding:
    return Finding(kind, severity, VALUES.get(kind, {}), groups, captions)  # type: ignore[arg-type]


def singles(count: int) -> tuple[tuple[int, ...], ...]:
    return tuple((i,) for i in range(count))


def shown(*findings: Finding, album: Album | None = None) -> list[ShownFinding]:
    album = album or Album(400)
    return read_and_show(findings, album, Catalog.from_entries(album.entries))


def test_what_to_do_first_stands_first():
    kinds = ["imbalance", "grey", "suspected_labels", "near_duplicates", "refused", "newly_invented", "blurred"]
    found = [*(finding(kind) for kind in kinds), finding("shortcut", "serious"), finding("leak", "serious")]
    found.append(finding("exif_rotated", "note"))
    ordered = ["leak", "shortcut", "suspected_labels", "near_duplicates", "refused", "blurred", "grey",
               "newly_invented", "imbalance", "exif_rotated"]  # fmt: skip
    assert [one.finding.kind for one in select(found)] == ordered
    assert [one.finding.kind for one in select(found[::-1])] == ordered


def test_of_one_kind_the_larger_stands_first():
    few, many = finding("shortcut", groups=((1,), (2,))), finding("shortcut", groups=((1, 2, 3), (4, 5, 6)))
    assert [selection.finding for selection in select([few, many])] == [many, few]


def test_pictures_have_their_captions_labels_links_and_splits():
    changes = ({"changes": ["mirrored"]}, {"changes": ["cropped"]})
    (found,) = shown(finding("near_duplicates", "warning", ((3, 4), (7, 8)), *changes))
    assert [group.caption for group in found.groups] == ["mirrored", "cropped"]
    first = found.groups[0].pictures
    assert [(p.path, p.label, p.split) for p in first] == [
        ("003.png", "b", "test"),
        ("004.png", "a", "train"),
    ]
    assert found.groups[0].labels_differ
    with Image.open(io.BytesIO(base64.b64decode(first[0].thumbnail.uri.partition(",")[2]))) as image:
        assert image.format == "JPEG"
        assert max(image.size) <= SMALL


def test_a_page_does_not_grow_without_end():
    found = [finding(kind, groups=singles(90)) for kind in ORDER[:12] if kind not in {"refused", "shortcut"}]
    selections = select(found)
    assert len(selections[0].groups) == PER_FINDING
    assert all(len(selection.groups) >= PER_GROUP for selection in selections)
    assert sum(len(selection.groups) for selection in selections) <= PER_PAGE
    assert sum(len(selection.groups) for selection in select(found * 30)) <= PER_PAGE
    assert shown(finding("blurred", groups=singles(90)))[0].unshown == 90 - PER_FINDING


def test_groups_are_cut_and_say_so():
    (found,) = shown(finding("near_duplicates", groups=((1, 2), *((i, i + 1, i + 2) for i in range(20)), (5,) * 9)))
    assert len(found.groups) <= GROUPS
    assert found.unshown == 22 - len(found.groups)
    (large,) = shown(finding("classes_alike", groups=(tuple(range(30)),)))
    assert len(large.groups[0].pictures) == PER_GROUP
    assert large.groups[0].unshown == 30 - PER_GROUP


@pytest.mark.parametrize("most", range(1, PER_FINDING + 1))
def test_a_shortcut_is_shown_with_and_without(most):
    groups = (tuple(range(12)), tuple(range(12, 24))) * 4
    (selection,) = select([finding("shortcut", groups=groups)], per_finding=most)
    sides = [len(group) for group in selection.groups]
    assert len(sides) % 2 == 0
    assert sum(sides) <= most
    assert sides or most == 1
    assert len(set(sides)) <= 1


def test_refused_pictures_are_named_and_not_read_again():
    album = Album(40, broken=(1, 2))
    codes = ({"code": "not_an_image", "detail": ""}, {"code": "empty_file", "detail": ""})
    (found,) = shown(finding("refused", "warning", (tuple(range(20)), (30,)), *codes), album=album)
    assert album.read_rows == []
    assert [named.path for named in found.groups[0].named] == [f"{i:03d}.png" for i in range(PATHS)]
    assert found.groups[0].unshown == 20 - PATHS
    assert [named.path for named in found.groups[1].named] == ["030.png"]
    assert found.groups[1].caption == "empty file"


def test_a_refused_picture_is_named_with_its_own_detail_even_where_there_is_a_thumbnail():
    album = Album(9)
    catalog = Catalog.from_entries(album.entries).table
    catalog.loc[4, ["status", "code", "detail"]] = ["refused", "duplicate", "003.png"]
    selections = select([finding("refused", "warning", ((4,),), {"code": "duplicate", "detail": "…"})])
    (found,) = show(selections, {"004.png": Thumbnail(uri="data:,")}, catalog)
    assert found.groups[0].named == (NamedPicture("004.png", "byte-identical to 003.png, which counts once"),)
    assert found.groups[0].pictures == ()


def test_a_picture_that_is_gone_by_now_is_named():
    (found,) = shown(finding("blurred", "warning", ((4,), (5,))), album=Album(9, broken=(4,)))
    assert [([named.path for named in group.named], len(group.pictures)) for group in found.groups] == [
        (["004.png"], 0),
        ([], 1),
    ]


def test_pictures_are_read_once_and_in_the_sources_order():
    album = Album(60)
    shown(finding("blurred", groups=((50,), (3,))), finding("near_duplicates", groups=((40, 3), (9, 50))), album=album)
    assert album.read_rows == [3, 9, 40, 50]


def test_findings_without_pictures_are_shown_all_the_same():
    imbalance = finding("imbalance")
    (found,) = shown(imbalance)
    assert found.groups == ()
    assert (found.title, found.advice) == (imbalance.title(), imbalance.advice())
    assert selected_rows(select([imbalance])) == set()
