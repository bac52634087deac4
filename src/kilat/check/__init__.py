"""What is wrong with the data: near-duplicates, label issues, shortcuts, image quality, orientation, class sizes.

Every check returns findings, which are data; ``sentences`` puts them into words when they are shown.

Stands on ``probe``, ``evaluate``, ``data`` and ``runtime``.
"""
