"""The bounds of what is read from archives and tables, in one place; what exceeds them is refused and named.

They are far beyond any set of pictures that is known, and so near that a hostile file of a few kilobytes neither fills
the memory nor takes minutes. The guide's page on data lists them.
"""

MIB = 1024 * 1024

MOST_MEMBERS = 2_000_000
"""Members of an archive, with folders and files that are no pictures."""

LONGEST_PATH = 4_096
"""Characters of a path in an archive; Linux opens no longer ones either."""

DEEPEST = 100
"""Folders within each other that a picture stands in, on disk or in an archive."""

MOST_TIMES = 200
"""How many times its size an archive or a member of one may unpack to: files of pictures are hardly compressible, and
only blank ones without any compression of their own go beyond."""

FREE_MEMBER = 16 * MIB
FREE_ARCHIVE = 512 * MIB
FREE_HEADERS = 128 * MIB
"""Bytes that a member of a zip, a whole compressed tar, and the headers in it may unpack to, however small they are."""

LONGEST_HEADER = MIB
"""Bytes of an extended header in a tar, which holds a name and little else."""

MOST_HEADERS = 64
"""Extended headers before one member; the formats need two."""

DICTIONARY = 256 * MIB
"""Memory of the decompressor of an xz stream; ``xz -9`` makes streams that need 65 MiB."""

TABLE_BYTES = 512 * MIB
"""Bytes of a table as text, and of what the columns of a Parquet file unpack to, without pictures."""

MOST_ROWS = 2_000_000
MOST_COLUMNS = 20_000
MOST_CELLS = 20_000_000
"""Rows, columns and cells of a table, those among them that are empty because a row is short."""

MOST_LINES = 8_000_000
"""Lines of a table as text, blank ones and those inside of cells among them."""

LONGEST_LINE = MIB
"""Characters of a line of a table."""

LONGEST_CELL = 128 * 1024
"""Characters of a cell; Python's reader of CSV has the same limit."""

DEEPEST_JSON = 32
"""Objects within each other in a line of JSON."""

SET_BYTES = 256 * MIB
"""Bytes of a file of a named data set, unpacked; the largest has 47 MB."""

FOOTER_BYTES = 16 * MIB
"""Bytes of the footer of a Parquet file, which says what stands where."""

PAGE_BYTES = 512 * MIB
"""Bytes that a page of a Parquet file takes in memory; most programs write pages of 1 MiB."""
