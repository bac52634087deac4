"""What a helper process does, from its start to its end: ``python -m kilat.fit.distributed.helper``.

It gets a training from the process that started it, trains with it, and computes logits with it until it is no longer
needed.
"""

import contextlib
import json
import math
import os
import sys
import threading
import time
from typing import cast

from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is public all the same

from kilat.errors import KilatError
from kilat.fit.distributed.group import TIMEOUT, Group, join
from kilat.fit.distributed.launch import FAILURE, KEY_VARIABLE, STARTED, unpack
from kilat.fit.loader import InMemory
from kilat.fit.loop import Trainer
from kilat.runtime.deadline import Deadline
from kilat.runtime.signals import Stopped


def main() -> None:
    """Meet the process that started this one, and help it until it closes the group or one of them fails."""
    rank, size, port, parent = map(int, sys.argv[1:5])
    device = sys.argv[5]
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    store = TCPStore("127.0.0.1", port, size, is_master=False, timeout=TIMEOUT)
    store.add(STARTED, 1)
    try:
        join(store, rank, size, device)
        _train(Group(rank, size, bytes.fromhex(os.environ[KEY_VARIABLE])))
    except Stopped:
        pass  # together with the first process, which tells the user
    except Exception as error:  # noqa: BLE001 - whatever it is, the first process tells the user
        report_error(store, rank, error)
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _train(group: Group) -> None:
    spec, is_timed = unpack(cast(bytes, group.broadcast(None)))
    if isinstance(spec.pictures, InMemory):
        distributed.broadcast(spec.pictures.pixels, 0)
    # How much time is left is for the first process to say; here it only matters that it is limited.
    trainer = Trainer(spec, None, Deadline(math.inf) if is_timed else None, group=group)
    trainer.run()
    group.serve(trainer.inference.outputs)


def report_error(store: TCPStore, rank: int, error: Exception) -> None:
    """Tell the first process what failed, unless another process did before: then this one only lost its connection."""
    message, hint = str(error) or type(error).__name__, ""
    is_kilat_error = isinstance(error, KilatError)
    if isinstance(error, KilatError):
        message, hint = error.message, error.hint
    text = json.dumps({"rank": rank, "message": message, "hint": hint, "is_kilat_error": is_kilat_error})
    with contextlib.suppress(Exception):  # where the first process itself has ended
        if store.compare_set(FAILURE, "", text).decode() == text and not is_kilat_error:
            sys.excepthook(type(error), error, error.__traceback__)


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, even while it waits for a GPU that waits for others."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main()
