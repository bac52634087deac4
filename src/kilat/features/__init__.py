"""Features of pictures: the embedded backbone, the one pass over the pictures, the cache.

Stands on data, recipe and runtime.
"""
