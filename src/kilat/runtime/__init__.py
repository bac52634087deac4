"""The machine: cores, worker processes, memory, files, kept results, ONNX sessions, timer, deadlines, progress, extras.

Stands on ``errors`` and ``locale`` alone. What kilat logs goes to the logger ``kilat`` and those below it; where and
whether it is shown is for the program that uses kilat to say.
"""

import logging

logging.getLogger("kilat").addHandler(logging.NullHandler())  # so that Python does not print it where nobody asked
