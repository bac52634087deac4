"""What a frozen network saw in each picture: the embedded backbone, the pass over the pictures, the cache."""
