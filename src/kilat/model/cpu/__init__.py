"""What makes networks fast on a CPU."""
