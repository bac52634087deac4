"""Augmentation: what training changes about pictures before a network sees them."""
