"""Tables of pictures and labels as sources: rows, columns by their content, files by the end of their paths.

Stands on locale, runtime and errors alone, and on the rest of its room.
"""
