"""Tables that are larger, deeper or otherwise quoted than others: every row is used, refused or named."""

import contextlib
import io
import json
import os
import random
from pathlib import Path

import pytest
from PIL import Image

from kilat.data.bounds import DEEPEST_JSON, LONGEST_LINE, MOST_COLUMNS, MOST_ROWS
from kilat.data.label_corrections import apply_corrections
from kilat.data.layout.layout import BLANK_ROW
from kilat.data.reading import Reading
from kilat.data.source import find_source, open_source
from kilat.data.table.parquet_pages import largest_page, read_footer
from kilat.data.unlabelled import open_unlabelled
from kilat.errors import PictureError, SourceError


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with pictures p0.png to p19.png."""
    for number in range(20):
        (tmp_path / f"p{number}.png").write_bytes(png(number))
    return tmp_path


def rows(count: int = 20) -> list[str]:
    return [f"p{number}.png,{'cat' if number % 2 else 'dog'}\n" for number in range(count)]


def table(folder: Path, lines: list[str], name: str = "t.csv", header: str = "path,label\n") -> Path:
    path = folder / name
    path.write_text(header + "".join(lines), "utf-8", newline="")
    return path


class TestQuotes:
    @pytest.mark.parametrize(
        ("first", "last"),
        [
            ('"p3.png,dog\n', 'p12.png",dog\n'),
            ('"p3.png,dog\n', '"p12.png",dog\n'),
            ('p3.png,"dog\n', 'p12.png,dog"\n'),
            ('p3.png,"dog\n', 'p12.png,"dog"\n'),
            ('p3.png,"dog\n', "p12.png,dog\n"),
        ],
    )
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_a_stray_quote_is_named_with_its_line(self, folder, first, last, end):
        lines = rows()
        lines[3], lines[12] = first, last
        lines = [line.replace("\n", end) for line in lines]
        path = table(folder, lines, header=f"path,label{end}")
        with pytest.raises(SourceError, match="a quote in line 5") as caught:
            open_source(path)
        assert "Delete it" in caught.value.hint

    def test_a_quote_that_ends_in_its_own_line_swallows_nothing(self, folder):
        lines = rows()
        lines[3:6] = ['p3.png","dog"\n', '"p4.png"x,dog\n', '"p5.png,"cat"\n']
        assert len(open_source(table(folder, lines)).entries) == 20

    @pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
    def test_ids_without_endings(self, folder, name):
        mark = "\t" if name.endswith("tsv") else ","
        lines = [f"p{number}{mark}{'cat' if number % 2 else 'dog'}\n" for number in range(20)]
        lines[4] = f'"p4{mark}dog\n'
        lines[9] = f'p9"{mark}cat\n'
        with pytest.raises(SourceError, match=r"a quote in line 6 .* makes one row of 6 lines, up to line 11"):
            open_source(table(folder, lines, name, f"id{mark}label\n"))

    def test_a_quote_that_is_never_closed_in_a_long_table(self, folder):
        lines = [f"p{number % 20}.png,cat,{'x' * 90}\n" for number in range(3000)]
        lines[7] = '"' + lines[7]
        with pytest.raises(SourceError, match="a quote in line 9"):
            open_source(table(folder, lines, header="path,label,text\n"))

    def test_cells_of_several_lines(self, folder):
        lines = [line.rstrip("\n") + ',"a ""large"" one,\nseen from above\n\n, twice"\n' for line in rows()]
        source = open_source(table(folder, lines, header='path,label,"what\nwas seen"\n'))
        assert [entry.refused for entry in source.entries] == [None] * 20

    def test_texts_with_as_many_commas_as_a_row(self, folder):
        lines = [
            line.rstrip("\n") + ',"red, white, and round;\nsmall, old, dry\nand, as ever, alone"\n' for line in rows()
        ]
        assert len(open_source(table(folder, lines, header="path,label,text\n")).entries) == 20

    def test_quotes_inside_cells_are_signs(self, folder):
        (folder / '5" pipe.png').write_bytes(png(99))
        source = open_source(
            table(folder, [*rows(), '5" pipe.png,5" pipe\n', '"5"" pipe.png",cat\n', "p1.png,'cat'\n"])
        )
        assert len(source.entries) == 23
        assert '5" pipe.png' in {entry.path for entry in source.entries if entry.label == '5" pipe'}

    def test_a_path_of_several_lines_is_named(self, folder):
        lines = [f"{line.strip()},1,2,3\n" for line in rows()]
        lines[3] = '"p3.png;\nwhatever",dog,1,2,3\n'
        with pytest.raises(SourceError, match="the path in row 4 goes over several lines") as caught:
            open_source(table(folder, lines, header="path,label,a,b,c\n"))
        assert "\n" not in caught.value.message

    def test_corrections(self, folder):
        source = open_source(table(folder, rows()))
        lines = ['"p1.png,dog\n', "p2.png,cat\n", 'p3.png",dog\n']
        with pytest.raises(SourceError, match="pictures that the data does not have"):
            apply_corrections(source, table(folder, lines, "suspects.csv", "path,correct_label\n"))


class TestRows:
    def test_rows_with_nothing_in_their_cells_are_counted(self, folder):
        source = open_source(table(folder, [*rows(), ",\n", "\n", " , \n", "   \n", "p1.png\n"]))
        assert len(source.entries) == 21
        assert source.skipped == {BLANK_ROW: 2}

    def test_a_title_is_said(self, folder):
        source = open_source(table(folder, rows(), header="Our pictures\npath,label\n"))
        assert "without the title above the names of its columns" in source.notes[0].sentence()

    def test_each_row_is_a_row_of_the_predictions(self, folder):
        pictures = open_unlabelled(table(folder, [*rows(4), "p1.png,cat\n", "p2.png,cat\n", "gone.png,cat\n"]))
        assert pictures.paths == ["p0.png", "p1.png", "p2.png", "p3.png", "p1.png", "p2.png", "gone.png"]
        assert [isinstance(one, PictureError) for one in pictures.read()] == [False] * 6 + [True]

    def test_a_nul_in_a_path(self, folder):
        source = open_source(table(folder, [*rows(), "p1.png\0.png,cat\n"], header=f"path,label{' ' * 1000}\n"))
        assert [entry.refused.code for entry in source.entries if entry.refused] == ["file_not_found"]


class TestBounds:
    def test_a_line_without_end(self, folder):
        with pytest.raises(SourceError, match=f"Line 22 of .* has more than {LONGEST_LINE:,} characters"):
            open_source(table(folder, [*rows(), "x" * (LONGEST_LINE + 1)]))

    def test_a_first_line_that_is_one_long_cell(self, folder):
        with pytest.raises(SourceError, match="cannot be read as a table: field larger than field limit"):
            open_source(table(folder, rows(), header="x" * 200_000 + "\n"))

    def test_too_many_columns(self, folder):
        with pytest.raises(SourceError, match=f"is too large: .* {MOST_COLUMNS + 1:,} columns"):
            open_source(
                table(
                    folder, rows(), header=",".join(f"column {'a' * (n % 9)}" for n in range(MOST_COLUMNS + 1)) + "\n"
                )
            )

    @pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet", "t.txt"])
    def test_what_is_no_file_is_not_opened(self, tmp_path, name):
        os.mkfifo(tmp_path / name)
        with pytest.raises(SourceError, match="a pipe, a socket or a device"):
            open_source(tmp_path / name)

    def test_a_file_of_holes(self, tmp_path):
        with (tmp_path / "t.csv").open("wb") as file:
            file.write(b"path,label\n")
            file.truncate(1 << 40)
        with pytest.raises(SourceError, match=r"cannot be read: it has 1,099,511,627,776 bytes"):
            open_source(tmp_path / "t.csv")

    def test_utf_32_is_no_utf_16(self, tmp_path):
        (tmp_path / "t.csv").write_text("path,label\na.jpg,cat\n", "utf-32")
        with pytest.raises(SourceError, match="is not text"):
            open_source(tmp_path / "t.csv")

    def test_many_labels_of_several_parts_each(self, folder):
        """Whether parts come again is counted, not looked for in every pair."""
        lines = [f'p{number % 20}.png,"a{number};b{number}"\n' for number in range(20_000)]
        assert len(find_source(table(folder, lines), reading=Reading(label_column="label")).entries) == 20_000


class TestJsonLines:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ('{"a": ' * (DEEPEST_JSON + 2) + "1" + "}" * (DEEPEST_JSON + 2), "nested too deeply"),
            ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
            ('{"path": "p1.png", "label": "cat", "path": "p2.png"}', "the key 'path' stands in it twice"),
            ('{"path": ' + "9" * 5_000 + "}", "is not JSON"),
            ('"p1.png"', "is not an object"),
        ],
    )
    def test_a_line_that_is_no_row_is_named(self, folder, line, reason):
        lines = [json.dumps({"path": f"p{number}.png", "label": "cat"}) + "\n" for number in range(3)]
        with pytest.raises(SourceError, match=f"Line 4 of .*{reason}"):
            open_source(table(folder, [*lines, line], "t.jsonl", ""))

    def test_line_separators_inside_text_break_no_line(self, folder):
        lines = [f'{{"path": "p{n}.png", "label": "{"ab"[n % 2]}", "note": "one\u2028two"}}\n' for n in range(6)]
        assert len(open_source(table(folder, lines, "t.jsonl", "")).entries) == 6


class TestParquet:
    @pytest.fixture(autouse=True)
    def arrow(self):
        self.pa = pytest.importorskip("pyarrow")
        self.pq = pytest.importorskip("pyarrow.parquet")

    def write(self, path: Path, columns, **options) -> Path:
        self.pq.write_table(self.pa.table(columns), path, **options)
        return path

    def repeated(self, value, count: int):
        return self.pa.DictionaryArray.from_arrays(self.pa.array([0] * count, self.pa.int32()), self.pa.array([value]))

    def test_more_rows_than_are_read_are_known_before_any_is(self, tmp_path):
        path = self.write(tmp_path / "t.parquet", {"path": self.repeated("a.png", MOST_ROWS + 1)}, store_schema=False)
        with pytest.raises(SourceError, match=f"is too large: {MOST_ROWS + 1:,} rows"):
            open_source(path)

    def test_columns_that_hold_too_much_are_left_out_and_said(self, folder):
        columns = {
            "path": [f"p{number}.png" for number in range(20)],
            "label": ["cat", "dog"] * 10,
            "text": self.repeated("x" * 200_000, 20),
        }
        source = open_source(self.write(folder / "t.parquet", columns, store_schema=False))
        assert len(source.entries) == 20
        assert "without 'text', which hold too much to be names or labels" in source.notes[0].sentence()

    def test_a_picture_that_is_said_a_thousand_times(self, tmp_path):
        picture = png(1) + bytes(1 << 20)
        columns = {"image": self.repeated(picture, 1000), "label": ["cat", "dog"] * 500}
        source = open_source(
            self.write(tmp_path / "t.parquet", columns, dictionary_pagesize_limit=1 << 24, store_schema=False)
        )
        assert source.read(999) == source.read(0) == picture

    def test_a_damaged_page_is_a_refusal_of_its_pictures(self, tmp_path):
        pictures = [png(number) + os.urandom(2_000) for number in range(40)]
        columns = {"image": pictures, "label": ["cat", "dog"] * 20}
        path = self.write(tmp_path / "t.parquet", columns, row_group_size=10, compression="gzip", use_dictionary=False)
        content = bytearray(path.read_bytes())
        start = self.pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
        content[start : start + 20] = b"\xff" * 20
        path.write_bytes(content)
        source = open_source(path)
        for row in (10, 11, 19):
            with pytest.raises(PictureError, match="damaged in the table"):
                source.read(row)
        assert [source.read(row) for row in (9, 20, 39)] == [pictures[9], pictures[20], pictures[39]]

    def test_files_of_one_table_with_other_columns(self, tmp_path):
        self.write(tmp_path / "t-00000-of-00002.parquet", {"path": ["a.png"], "label": ["cat"]})
        self.write(tmp_path / "t-00001-of-00002.parquet", {"label": ["cat"]})
        with pytest.raises(SourceError, match="has other columns than"):
            open_source(tmp_path / "t-00000-of-00002.parquet")

    @pytest.mark.parametrize("document", [b"[]", b"{", b'{"info": {"features": [1]}}', b"[" * 100_000, b'{"info": 3}'])
    def test_names_of_classes_that_are_none(self, folder, document):
        columns = {"path": [f"p{number}.png" for number in range(20)], "label": [0, 1] * 10}
        written = self.pa.table(columns).replace_schema_metadata({b"huggingface": document})
        self.pq.write_table(written, folder / "t.parquet")
        assert {entry.label for entry in open_source(folder / "t.parquet").entries} == {"0", "1"}

    def test_what_the_footer_and_the_pages_say(self, tmp_path):
        columns = {"path": [f"{number}.png" for number in range(100)], "tags": [["a", "b"]] * 100}
        path = self.write(tmp_path / "t.parquet", columns, row_group_size=60, use_dictionary=False, compression="none")
        with path.open("rb") as file:
            groups = read_footer(file)
            assert [(rows, len(chunks)) for rows, chunks in groups] == [(60, 2), (40, 2)]
            assert {chunk.path: chunk.values for chunk in groups[0][1]} == {"path": 60, "tags.list.element": 120}
            assert largest_page(file, groups[0][1][0]) >= sum(len(name) + 4 for name in columns["path"][:60])

    @pytest.mark.parametrize("cut", [1, 9, 40, 10_000])
    def test_a_footer_that_is_cut(self, tmp_path, cut):
        path = self.write(tmp_path / "t.parquet", {"path": ["1.png"], "label": ["cat"]})
        path.write_bytes(path.read_bytes()[:-cut])
        with pytest.raises(SourceError, match="cannot be read as Parquet: its footer is missing"):
            open_source(path)

    @pytest.mark.slow
    def test_mutants(self, folder):
        """Of each, whatever is read of it is read, and whatever is not is an error or a refusal."""
        noise = random.Random(0)
        columns = {
            "image": [{"bytes": png(number), "path": f"{number}.png"} for number in range(20)],
            "label": [0, 1] * 10,
            "tags": [["a", "b"]] * 20,
        }
        whole = self.write(folder / "t.parquet", columns, row_group_size=7).read_bytes()
        for _mutant in range(1500):
            content = bytearray(whole)
            for _change in range(noise.randint(1, 4)):
                content[noise.randrange(len(content))] ^= 1 << noise.randrange(8)
            (folder / "t.parquet").write_bytes(content)
            with contextlib.suppress(SourceError):
                source = find_source(folder / "t.parquet")
                for row in range(len(source.entries)):
                    with contextlib.suppress(PictureError):
                        source.read(row)


class TestManyFiles:
    def test_files_of_one_name_are_found_by_their_folders(self, tmp_path):
        for number in range(100):
            (tmp_path / f"all/p{number}").mkdir(parents=True)
            (tmp_path / f"all/p{number}/scan.png").write_bytes(png(number))
        lines = [f"/moved/from/p{number}/scan.png,{'cat' if number % 2 else 'dog'}\n" for number in range(100)]
        source = open_source(table(tmp_path, lines))
        assert [entry.refused for entry in source.entries] == [None] * 100
        labels = {source.link(row): entry.label for row, entry in enumerate(source.entries)}
        assert labels[str(tmp_path / "all/p7/scan.png")] == "cat"

    def test_of_files_of_one_name_another_column_tells(self, tmp_path):
        for number in range(40):
            (tmp_path / f"all/p{number}").mkdir(parents=True)
            (tmp_path / f"all/p{number}/scan.png").write_bytes(png(number))
        lines = [f"p{number % 40},scan.png,{'cat' if number % 2 else 'dog'}\n" for number in range(41)]
        source = open_source(table(tmp_path, lines, header="patient,file,label\n"))
        assert sum(entry.refused is None for entry in source.entries) == 40

    def test_a_folder_in_too_many_folders_is_refused(self, folder):
        deep = folder / "a" / "/".join(["x"] * 150)
        deep.mkdir(parents=True)
        (deep / "1.png").write_bytes(png(1))
        (folder / "b").mkdir()
        for number in range(4):
            (folder / "ab"[number % 2] / f"{number}.png").write_bytes(png(number))
        source = find_source(folder)
        codes = [entry.refused.code for entry in source.entries if entry.refused]
        assert codes.count("folders_too_deep") == 1
        assert str(deep / "1.png") in open_unlabelled(folder).paths
