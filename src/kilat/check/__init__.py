"""What there is to know of the data before anyone learns from it."""
