"""Tasks on a Ray cluster that is connected: checked machine by machine, sent out, watched, taken back.

A worker that dies (killed, out of memory, its machine gone) loses its task to another one, up to three times; a fault
that a recipe reports itself is not tried again.
"""

from __future__ import annotations

import os
import platform
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from edgexai import __version__
from edgexai.config.heap import keep_freed_memory
from edgexai.errors import EXIT_BUG, EXIT_USER, UserError
from edgexai.recipe import STAGES
from edgexai.study.mailbox import Receiver, Sender
from edgexai.study.shared_folder import Shared, not_shared
from edgexai.study.task import Ended, Task, end_event, run_task, start_event
from edgexai.types import Progress

_MAX_RETRIES = 3
_POLL_S = 0.5
_CHECK_S = 120.0
_STOP_S = 10.0


@dataclass(frozen=True)
class Cluster:
    """A cluster, connected.

    Attributes:
        ray: the module.
        workers: tasks at one time.
        device: "cpu" or "cuda".
        shared: what every machine must see.
        home: ``EDGEXAI_HOME`` of this process, for the user's own dataset cards.
    """

    ray: Any
    workers: int
    device: str
    shared: Shared
    home: str


def check_nodes(cluster: Cluster) -> None:
    """Asks every machine of the cluster whether it can do the work.

    Raises:
        UserError: some cannot; each is listed with why. Or the cluster has no GPU for ``device="cuda"``.
    """
    ray, problems = cluster.ray, []
    strategy = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    ask = ray.remote(num_cpus=0, max_retries=1)(_cannot)
    asked = {
        ask.options(scheduling_strategy=strategy(node, soft=False)).remote(cluster.shared, _versions()): name
        for node, name in nodes.items()
    }
    for answer, name in asked.items():
        try:
            found = ray.get(answer, timeout=_CHECK_S)
        except ray.exceptions.RayError as error:
            reason = f"{error}".strip().rpartition("\n")[2]
            found = f"{name}: cannot run edgexai {__version__} there: {reason}"
        if found:
            problems.append(found)
    if cluster.device == "cuda" and not ray.cluster_resources().get("GPU"):
        problems.append("device cuda: no machine of the cluster has a GPU that Ray knows of")
    if problems:
        raise UserError(
            f"{len(problems)} problem{'s' if len(problems) != 1 else ''} with the Ray cluster",
            problems=tuple(problems),
            next_step="every machine needs the same edgexai, and EDGEXAI_HOME and EDGEXAI_DATA on a file system that "
            "all of them share, locks included (NFS 4, for one)",
        )


def run_on_cluster(tasks: Sequence[Task], *, cluster: Cluster, progress: Progress) -> list[Ended]:
    """Runs the tasks, at most ``cluster.workers`` at one time, started in the order given.

    Args:
        tasks: what to run; their ``threads`` are set here.
        cluster: checked.
        progress: takes the events of all tasks, and one when each starts and ends.

    Returns:
        How each task ended, in the order given.
    """
    ray, waiting = cluster.ray, list(tasks)
    cores, options = _share_of(cluster)
    run = ray.remote(max_retries=_MAX_RETRIES, retry_exceptions=False, **options)(_run)
    running: dict[Any, tuple[Task, Receiver]] = {}
    started: set[int] = set()
    done: dict[int, Ended] = {}

    def tell(task: Task, mail: Receiver) -> None:
        for event in mail.new():
            if event.get("what") == "recipe-start" and task.at in started:
                progress({"what": "launcher", "says": f"{task.label}: its worker was lost, run again by {event['by']}"})
            else:
                progress(event)
            if event.get("what") == "recipe-start":
                started.add(task.at)

    try:
        while waiting or running:
            while waiting and len(running) < cluster.workers:
                task = waiting.pop(0)
                mail = cluster.shared.folder / f"{task.at}-{secrets.token_hex(4)}.jsonl"
                sent = run.remote(replace(task, threads=cores), cluster.shared, str(mail), cluster.home)
                running[sent] = (task, Receiver(mail))
            ready, _ = ray.wait(list(running), timeout=_POLL_S)
            for task, receiver in running.values():
                tell(task, receiver)
            for answer in ready:
                task, receiver = running.pop(answer)
                tell(task, receiver)
                done[task.at] = ended = _answer(ray, answer, task)
                progress(end_event(task, ended))
    finally:
        _stop(ray, list(running))
    return [done[task.at] for task in tasks]


def _share_of(cluster: Cluster) -> tuple[int, dict[str, Any]]:
    """Cores of one task, and what it reserves: cores // workers, but no more than the largest machine has."""
    nodes = [node["Resources"] for node in cluster.ray.nodes() if node["Alive"]]
    total = cluster.ray.cluster_resources()
    largest = max(int(node.get("CPU", 0)) for node in nodes)
    cores = max(1, min(int(total.get("CPU", 0)) // cluster.workers, largest))
    if cluster.device != "cuda":
        return cores, {"num_cpus": cores}
    return cores, {"num_cpus": cores, "num_gpus": min(1.0, float(total["GPU"]) / cluster.workers)}


def _answer(ray: Any, answer: Any, task: Task) -> Ended:
    try:
        return Ended(**ray.get(answer))
    except ray.exceptions.RayError as error:
        said = f"{error}".strip().partition("\n")[0]
        return Ended(task.at, task.label, "failed", f"lost more than {_MAX_RETRIES} times: {said}", EXIT_BUG)


def _stop(ray: Any, running: list[Any]) -> None:
    """Asks the tasks to end, as Ctrl-C would; those that do not are killed."""
    for answer in running:
        ray.cancel(answer, force=False)
    if running:
        _, deaf = ray.wait(running, num_returns=len(running), timeout=_STOP_S)
        for answer in deaf:
            ray.cancel(answer, force=True)


def _versions() -> dict[str, str]:
    stages = ", ".join(f"{name} {entry.version}" for name, entry in STAGES.items())
    return {"edgexai": __version__, "stages": stages, "Python": ".".join(platform.python_version_tuple()[:2])}


def _cannot(shared: Shared, wanted: Mapping[str, str]) -> str:
    """Runs on a worker: why its machine cannot do the work; "" if it can."""
    mine = _versions()
    for name, value in wanted.items():
        if mine[name] != value:
            return f"{socket.gethostname()}: {name} is {mine[name]} there, {value} here"
    return not_shared(shared)


def _run(task: Task, shared: Shared, mail: str, home: str) -> dict[str, Any]:
    """Runs on a worker, whose machine may have joined after the check."""
    if problem := not_shared(shared):
        return asdict(Ended(task.at, task.label, "failed", problem, EXIT_USER))
    os.environ["EDGEXAI_HOME"] = home
    keep_freed_memory()
    with Sender(Path(mail)) as send:
        send({**start_event(task), "by": f"{socket.gethostname()}, process {os.getpid()}", "pid": os.getpid()})
        return asdict(run_task(task, progress=send))
