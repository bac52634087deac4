"""One module a verb, each readable on one screen; read ``train`` first. Stands on every room below."""
