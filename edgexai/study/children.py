"""Tasks in child processes of this machine: spawned, a recipe each, a fixed share of the cores.

A child that dies takes its recipe with it and nothing else. Ctrl-C reaches the parent alone, which asks the children to
end; a child whose parent is gone ends itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from edgexai.config.heap import keep_freed_memory
from edgexai.errors import EXIT_BUG, EXIT_DONE, EXIT_INTERRUPTED
from edgexai.study.task import Ended, Task, end_event, run_task, start_event
from edgexai.types import Progress

_GRACE_S = 10.0


@dataclass
class _Child:
    task: Task
    process: SpawnProcess
    slot: int
    ended: Ended | None = None


def run_children(tasks: Sequence[Task], *, workers: int, progress: Progress) -> list[Ended]:
    """Runs the tasks, at most ``workers`` at one time, started in the order given.

    Args:
        tasks: what to run; their ``threads`` are set here.
        workers: processes at one time, at least 1.
        progress: takes the events of all children, and one when each starts and ends.

    Returns:
        How each task ended, in the order given. A child that was killed counts as failed.
    """
    slots = _core_shares(workers)
    free, waiting = list(range(workers)), list(tasks)
    running: dict[Connection, _Child] = {}
    done: dict[int, Ended] = {}
    try:
        while waiting or running:
            while waiting and free:
                task, slot = waiting.pop(0), free.pop(0)
                cores = slots[slot]
                connection, process = _start(replace(task, threads=len(cores)), cores)
                running[connection] = _Child(task, process, slot)
                progress(start_event(task))
            for connection in _ready(running):
                child = running[connection]
                try:
                    message = connection.recv()
                except (EOFError, OSError):
                    connection.close()
                    child.process.join()
                    done[child.task.at] = ended = child.ended or _died(child)
                    progress(end_event(child.task, ended))
                    del running[connection]
                    free.append(child.slot)
                    continue
                if isinstance(message, Ended):
                    child.ended = message
                else:
                    progress(message)
    finally:
        _end(child.process for child in running.values())
    return [done[task.at] for task in tasks]


def _ready(running: dict[Connection, _Child]) -> Iterable[Connection]:
    return [found for found in wait(list(running)) if isinstance(found, Connection)]


def _start(task: Task, cores: Sequence[int]) -> tuple[Connection, SpawnProcess]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(task, sender, tuple(cores)), name=f"edgexai {task.label}")
    with _interruptions_held():
        process.start()
    sender.close()  # the child's end alone keeps the pipe open, so that it ends with the child
    return receiver, process


@contextmanager
def _interruptions_held() -> Iterator[None]:
    """What is started inside never hears Ctrl-C; this process hears it at the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _child(task: Task, connection: Connection, cores: tuple[int, ...]) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run that is asked to end tidies up as after Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.sched_setaffinity(0, cores)
    keep_freed_memory()
    try:
        connection.send(run_task(task, progress=connection.send))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_DONE)  # all files are closed; taking torch down in good order would cost a second per recipe


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(EXIT_INTERRUPTED)


def _core_shares(workers: int) -> list[list[int]]:
    """Cores of every worker: equal shares, cores // workers each; shared out in turn where workers outnumber them."""
    cores = sorted(os.sched_getaffinity(0))
    each = max(1, len(cores) // workers)
    return [[cores[(slot * each + k) % len(cores)] for k in range(each)] for slot in range(workers)]


def _died(child: _Child) -> Ended:
    code = child.process.exitcode or 0
    how = f"its process ended with exit code {code}"
    if code < 0:
        with suppress(ValueError):
            how = f"its process was killed by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            how += "; the system does that when memory runs out"
    return Ended(child.task.at, child.task.label, "failed", how, EXIT_BUG)


def _end(processes: Iterable[SpawnProcess]) -> None:
    ending = list(processes)
    for process in ending:
        process.terminate()
    for process in ending:
        process.join(_GRACE_S)
    for process in ending:
        if process.is_alive():
            process.kill()
            process.join()
