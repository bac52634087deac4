"""Findings as pages show them: what to do first stands first, and no page grows without end."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kilat.check.finding import Finding
from kilat.data.catalog import Catalog, Entry
from kilat.report import content
from kilat.report.findings import A_FINDING, A_GROUP, A_PAGE, GROUPS, ORDER, PATHS, ShownFinding, choose, rows, shown


class Album:
    """Small grey pictures, some of which cannot be read; it remembers what was read."""

    def __init__(self, count: int, broken: tuple[int, ...] = ()) -> None:
        self.name, self.broken, self.read_rows = "album", broken, list[int]()
        self.skipped: dict[str, int] = {}
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


def finding(kind: str, severity: str = "look", groups: tuple[tuple[int, ...], ...] = (), *captions: str) -> Finding:
    return Finding(kind, severity, f"{kind} found.", "Look.", groups, captions)  # type: ignore[arg-type]


def singles(count: int) -> tuple[tuple[int, ...], ...]:
    return tuple((i,) for i in range(count))


def show(*findings: Finding, album: Album | None = None) -> list[ShownFinding]:
    album = album or Album(400)
    return shown(findings, album, Catalog.from_entries(album.entries))


def test_what_to_do_first_stands_first() -> None:
    kinds = ["imbalance", "grey", "suspected_labels", "near_duplicates", "refused", "newly_invented", "blurred"]
    found = [*(finding(kind) for kind in kinds), finding("shortcut", "serious"), finding("leak", "serious")]
    found.append(finding("stored_turned", "note"))
    ordered = ["leak", "shortcut", "suspected_labels", "near_duplicates", "refused", "blurred", "grey",
               "newly_invented", "imbalance", "stored_turned"]  # fmt: skip
    assert [one.kind for one in show(*found)] == ordered
    assert [one.kind for one in show(*found[::-1])] == ordered


def test_of_one_kind_the_larger_stands_first() -> None:
    few, many = finding("shortcut", groups=((1,), (2,))), finding("shortcut", groups=((1, 2, 3), (4, 5, 6)))
    assert [choice.finding for choice in choose([few, many])] == [many, few]


def test_pictures_have_their_captions_labels_links_and_splits() -> None:
    (found,) = show(finding("near_duplicates", "look", ((3, 4), (7, 8)), "mirrored", "cropped"))
    assert [group.caption for group in found.groups] == ["mirrored", "cropped"]
    first = found.groups[0].pictures
    assert [(p.path, p.label, p.link, p.split) for p in first] == [
        ("003.png", "b", "/album/003.png", "test"),
        ("004.png", "a", "/album/004.png", "train"),
    ]
    assert found.groups[0].labels_differ
    with Image.open(io.BytesIO(first[0].jpeg)) as image:
        assert image.format == "JPEG"
        assert max(image.size) <= 144


def test_a_page_does_not_grow_without_end() -> None:
    found = [finding(kind, groups=singles(90)) for kind in ORDER[:12] if kind not in {"refused", "shortcut"}]
    chosen = choose(found)
    assert len(chosen[0].groups) == A_FINDING
    assert all(len(choice.groups) >= A_GROUP for choice in chosen)
    assert sum(len(choice.groups) for choice in chosen) <= A_PAGE
    assert sum(len(choice.groups) for choice in choose(found * 30)) <= A_PAGE
    assert show(found[0])[0].unshown == 90 - A_FINDING


def test_groups_are_cut_and_say_so() -> None:
    (found,) = show(finding("near_duplicates", groups=((1, 2), *((i, i + 1, i + 2) for i in range(20)), (5,) * 9)))
    assert len(found.groups) <= GROUPS
    assert found.unshown == 22 - len(found.groups)
    (large,) = show(finding("classes_alike", groups=(tuple(range(30)),)))
    assert len(large.groups[0].pictures) == A_GROUP
    assert large.groups[0].unshown == 30 - A_GROUP


@pytest.mark.parametrize("most", range(1, A_FINDING + 1))
def test_a_shortcut_is_shown_with_and_without(most: int) -> None:
    (choice,) = choose([finding("shortcut", groups=(tuple(range(12)), tuple(range(12, 24))) * 4)], a_finding=most)
    sides = [len(group) for group in choice.groups]
    assert len(sides) % 2 == 0
    assert sum(sides) <= most
    assert sides or most == 1
    assert len(set(sides)) <= 1


def test_refused_pictures_are_named_and_not_read_again() -> None:
    album = Album(40, broken=(1, 2))
    (found,) = show(finding("refused", "look", (tuple(range(20)), (30,)), "not an image", "empty file"), album=album)
    assert album.read_rows == []
    assert found.groups[0].paths == tuple(f"{i:03d}.png" for i in range(PATHS))
    assert found.groups[0].unshown == 20 - PATHS
    assert found.groups[1].paths == ("030.png",)


def test_a_picture_that_is_gone_by_now_is_named() -> None:
    (found,) = show(finding("blurred", "look", ((4,), (5,))), album=Album(9, broken=(4,)))
    assert [(group.paths, len(group.pictures)) for group in found.groups] == [(("004.png",), 0), ((), 1)]


def test_pictures_are_read_once_and_in_the_sources_order() -> None:
    album = Album(60)
    show(finding("blurred", groups=((50,), (3,))), finding("near_duplicates", groups=((40, 3), (9, 50))), album=album)
    assert album.read_rows == [3, 9, 40, 50]


def test_findings_without_pictures_are_shown_all_the_same() -> None:
    (found,) = show(finding("imbalance"))
    assert found.groups == ()
    assert found.title == "imbalance found."
    assert rows(choose([finding("imbalance")])) == set()


def test_a_report_has_them_beside_samples_and_mistakes() -> None:
    album = Album(60)
    catalog = Catalog.from_entries(album.entries)
    predictions = pd.DataFrame(
        {"row": [0, 3], "split": "test", "label": ["a", "b"], "predicted": ["b", "b"], "probability": [0.9, 0.8]}
    )
    found = [finding("blurred", groups=singles(30)), finding("leak", "serious", ((0, 1),))]
    report = content.gather("x", album, catalog, predictions, {}, "", [], {"findings": found})
    assert [one.kind for one in report.findings] == ["leak", "blurred"]
    assert len(report.findings[1].groups) == content.A_FINDING
    assert [mistake.picture.path for mistake in report.mistakes] == ["000.png"]
    assert np.all(np.diff(album.read_rows) > 0)
    assert content.gather("x", album, catalog, predictions, {}, "", []).findings == []
