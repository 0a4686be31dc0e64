"""Lists of rows: a file of many requests, read, checked and filled in, before anything is sent.

`read_records` gives the records of a CSV, JSONL or text file with their lines, and a `RowMistake`
for what can't be read; `RowCheck` makes a `Row` of each and finds what is wrong with the file.
Both go through a file of any length in a memory of fixed size, but for ids and names of outputs.
What a row asks for is said here; what it costs, and how it is bought, is for who uses it.
"""

from __future__ import annotations

from .file_names import is_image_name, path_below, same_file
from .reading import FACTS, FORMATS, Record, RowMistake, format_of, read_records
from .rows import COLUMNS, IMAGE_COLUMNS, MAX_COUNT, Row, RowCheck, Settings, size_named
from .selection import Selection, select_rows
from .templates import fill, names_in

__all__ = [
    "COLUMNS",
    "FACTS",
    "FORMATS",
    "IMAGE_COLUMNS",
    "MAX_COUNT",
    "Record",
    "Row",
    "RowCheck",
    "RowMistake",
    "Selection",
    "Settings",
    "fill",
    "format_of",
    "is_image_name",
    "names_in",
    "path_below",
    "read_records",
    "same_file",
    "select_rows",
    "size_named",
]
