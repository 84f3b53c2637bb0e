"""Runs the recipes of a study on a Ray cluster: one task per recipe, run again elsewhere if its worker is lost.

Ray only places work. What has been built lies in the store, on a file system all machines share, so a task that is run
again takes up where its worker was lost: finished stages are found there, a training goes on at its last checkpoint.
Source: Moritz et al., OSDI 2018; its tasks with ``max_retries``.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from edgexai.config.home import default_home
from edgexai.config.load import LoadedRecipe
from edgexai.errors import MissingCapability, UserError
from edgexai.study.children import run_children
from edgexai.study.ray_tasks import Cluster, check_nodes, run_on_cluster
from edgexai.study.rounds import run_in_rounds
from edgexai.study.shared_folder import sharing
from edgexai.study.task import tasks_of
from edgexai.types import Progress

_KNOCK_S, _CONNECT_S, _NOTE_S = 10.0, 60.0, 3.0
_QUIET = {
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # else it writes to standard output when a worker dies; progress tells of that
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it prints a tip about the default
}


def launch(
    recipes: Sequence[LoadedRecipe],
    *,
    home: Path,
    device: str,
    data_root: Path | None,
    workers: int,
    progress: Progress,
) -> None:
    """Brings the store to where every recipe is complete. One that fails does not stop the others.

    The cluster is the one that ``RAY_ADDRESS`` names, else one that runs on this machine, else one that is started here
    and stopped at the end. Timings are made on this machine, at the end, one at a time.

    Args:
        recipes: started in this order; of those that begin with the same stage, one before the others.
        home: ``EDGEXAI_HOME``; the same folder on every machine, which is checked.
        device: "cpu" or "cuda", of all recipes.
        data_root: where data sets lie; the same on every machine.
        workers: recipes at one time; each reserves cores // workers.
        progress: takes the events of all recipes, each with "recipe".

    Raises:
        MissingCapability: Ray is not installed.
        UserError: the cluster does not answer, a machine does not see ``home``, or recipes failed for the user's own
            faults. All failures are listed.
        EdgexaiError: recipes failed otherwise.
    """
    if workers < 1:
        raise UserError(f"workers = {workers}: at least one is needed", next_step="--workers 1 runs one by one")
    if data_root is None and os.environ.get("EDGEXAI_DATA"):
        data_root = Path(os.environ["EDGEXAI_DATA"])  # the workers' environments are their own
    tasks = tasks_of(recipes, home=home, device=device, data_root=data_root)
    root = None if data_root is None else data_root.absolute()
    with connected_ray(workers, progress) as ray, sharing(home.absolute(), data_root=root) as shared:
        cluster = Cluster(ray, workers, device, shared, str(default_home()))
        check_nodes(cluster)
        run_in_rounds(
            tasks,
            together=lambda some: run_on_cluster(some, cluster=cluster, progress=progress),
            alone=lambda some: run_children(some, workers=1, progress=progress),
        )


@contextmanager
def connected_ray(workers: int, progress: Progress) -> Iterator[Any]:
    """The ``ray`` module, connected; what was connected or started here is let go of at the end."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)  # Ray reads these when it is imported
    try:
        ray = import_module("ray")
    except ModuleNotFoundError as error:
        raise MissingCapability(
            "the launcher ray needs the package ray, which is not installed",
            next_step='pip install "edgexai[distributed]", or take --launcher local',
        ) from error
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    named = os.environ.get("RAY_ADDRESS", "")
    if named not in ("", "auto", "local"):
        try:
            _knock(named)
            ray.init(address=named, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"RAY_ADDRESS={named}: no Ray cluster there that this process can join",
                problems=(f"{error}".partition("\n")[0],),
                next_step="correct RAY_ADDRESS, or unset it to start Ray on this machine; a cluster that asks for a "
                "token wants it in RAY_AUTH_TOKEN",
            ) from error
        progress({"what": "launcher", "says": f"Ray cluster at {named}"})
    else:
        _find_or_start(ray, workers, progress, quiet, search=named != "local")
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself goes on trying for many minutes where nobody answers, or where it is not let in.

    Raises:
        OSError: nobody answers.
        ValueError: that is no address.
        RuntimeError: another process tried to connect, and could not.
    """
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()
    code = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False)"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", code, address], capture_output=True, text=True, timeout=_CONNECT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        said = error.stderr or b""
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        last = text.strip().rpartition("\n")[2]
        raise RuntimeError(f"no connection in {_CONNECT_S:.0f} s; Ray says: {last}") from error
    if tried.returncode:
        raise RuntimeError(tried.stderr.strip().rpartition("\n")[2])


def _gone() -> str:
    """The address that Ray remembers on this machine, if nobody answers there any more; else "".

    Ray leaves its note behind when a cluster is killed, and would try that address for ten minutes.
    """
    note = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray" / "ray_current_cluster"
    try:
        address = note.read_text().strip()
    except OSError:
        return ""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_NOTE_S).close()
    except (OSError, ValueError):
        return address
    return ""


def _find_or_start(ray: Any, workers: int, progress: Progress, quiet: dict[str, Any], *, search: bool) -> None:
    if search and (gone := _gone()):
        progress({"what": "launcher", "says": f"Ray's note of a cluster at {gone} is old: nobody answers there"})
    elif search:
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            pass
        else:
            progress({"what": "launcher", "says": "Ray cluster that runs on this machine"})
            return
    cores = len(os.sched_getaffinity(0))
    ray.init(address="local", num_cpus=workers * max(1, cores // workers), include_dashboard=False, **quiet)
    progress({"what": "launcher", "says": f"no Ray cluster found: started one here with {workers} workers"})
