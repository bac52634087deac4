"""How a tree of folders is read: which of them are splits, which are classes, and what it is if it is neither.

Stands on locale, runtime and errors alone, and on the rest of its room.
"""
