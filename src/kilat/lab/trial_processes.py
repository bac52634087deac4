"""Trials side by side in worker processes; one whose process dies is tried once more, by itself."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

from kilat.lab.lab_folder import PlannedTrial
from kilat.lab.trained_trials import TrainedTrials
from kilat.runtime.deadline import Deadline
from kilat.runtime.signals import Stopped
from kilat.runtime.worker_processes import WorkerProcesses


class TrialProcesses:
    """Runs trials in some processes, which it keeps between calls.

    Args:
        trials: that run one trial.
        count: how many processes; 0 for this one.
        lost: called with a trial whose process died twice, such as for lack of memory.
    """

    def __init__(self, trials: TrainedTrials, count: int, lost: Callable[[PlannedTrial], None]) -> None:
        self._trials, self._count, self._lost = trials, count, lost
        self._workers: WorkerProcesses[PlannedTrial, None] | None = None

    def run(
        self, tasks: Sequence[PlannedTrial], done: Callable[[PlannedTrial], None], deadline: Deadline | None = None
    ) -> None:
        """Run trials until all are done, or time is over; those that go on then are ended.

        Args:
            tasks: what is to be run, in this order.
            done: called after each.
            deadline: when time is over.
        """
        if not self._count:
            for task in tasks:
                if deadline is not None and deadline.remaining() <= 0:
                    return
                self._trials(task)
                done(task)
            return
        waiting, suspects = deque(tasks), deque[PlannedTrial]()
        while waiting and not _is_over(deadline):
            suspects += self._side_by_side(waiting, done, deadline)
        while suspects and not _is_over(deadline):
            task = suspects.popleft()
            for died in self._side_by_side(deque([task]), done, deadline):
                self._lost(died)
                done(died)

    def _side_by_side(
        self, waiting: deque[PlannedTrial], done: Callable[[PlannedTrial], None], deadline: Deadline | None
    ) -> list[PlannedTrial]:
        """Run trials until none is left, time is over, or a process dies; return those that ran when one died."""
        running: dict[Future[None], PlannedTrial] = {}
        while waiting or running:
            while waiting and len(running) < self._count:
                task = waiting.popleft()
                running[self._pool().submit(task)] = task
            finished, _others = wait(
                running, timeout=None if deadline is None else max(0.0, deadline.remaining()),
                return_when=FIRST_COMPLETED,
            )  # fmt: skip
            if not finished:
                self.close()
                return []
            ended = [(future, running.pop(future)) for future in finished]
            if died := [task for future, task in ended if not self._is_done(future, task, done)]:
                self.close()
                return [*died, *running.values()]
        return []

    def _is_done(self, future: "Future[None]", task: PlannedTrial, done: Callable[[PlannedTrial], None]) -> bool:
        try:
            future.result()
        except (BrokenProcessPool, Stopped):
            return False
        done(task)
        return True

    def _pool(self) -> WorkerProcesses[PlannedTrial, None]:
        if self._workers is None:
            self._workers = WorkerProcesses(self._trials, self._count)
        return self._workers

    def close(self) -> None:
        """End the processes."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None


def _is_over(deadline: Deadline | None) -> bool:
    return deadline is not None and deadline.remaining() <= 0
