"""Graphs that came from outside: what is in them, and what running them takes, before anything runs them.

Stands on no other room but those below.
"""
