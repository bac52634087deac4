"""What makes training fast on a CPU. Stands on the windows of ``kilat.model`` alone."""
