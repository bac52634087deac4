"""Training in several processes: the group and its sums, starting the other processes, and what these do.

Stands on the rest of ``fit``; ``helper`` alone on its loop.
"""
