"""Shares one measurement among the workers of a Ray cluster; every finished batch lies in the shared home folder.

Ray only places the shares. A worker that is lost loses the batch it was in; its share is done again by another one,
which finds the others' batches and its predecessor's.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgexai.config.home import default_home
from edgexai.errors import EdgexaiError, UserError
from edgexai.measure.foreign import Request, measure_share, opened
from edgexai.study.launch_ray import connected_ray
from edgexai.study.ray_tasks import Cluster, check_nodes
from edgexai.study.shared_folder import Shared, not_shared, sharing
from edgexai.types import Progress

_MAX_RETRIES = 3
_POLL_S = 0.5


def launch_shards(request: Request, *, home: Path, workers: int, progress: Progress) -> None:
    """Brings ``home/measure`` to where every batch of the request is finished, timings aside.

    Args:
        request: what is measured; paths absolute, the same on every machine.
        home: ``EDGEXAI_HOME``, the same folder on every machine, which is checked.
        workers: shares, worked on at one time.
        progress: told about finished shares.

    Raises:
        MissingCapability: Ray is not installed.
        UserError: the cluster does not answer, a machine does not see ``home``, or a share failed for the user's own
            faults. All failures are listed.
    """
    if workers < 1:
        raise UserError(f"workers = {workers}: at least one is needed", next_step="--workers 1 runs one by one")
    root = None if request.data_root is None else request.data_root.absolute()
    with connected_ray(workers, progress) as ray, sharing(home.absolute(), data_root=root) as shared:
        cluster = Cluster(ray, workers, "cpu", shared, str(default_home()))
        check_nodes(cluster)
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)) // workers)
        share = ray.remote(max_retries=_MAX_RETRIES, retry_exceptions=False, num_cpus=cores)(_share)
        asked = replace(request, threads=request.threads or cores)
        sent = {
            share.remote(asked, str(home.absolute()), number, workers, shared): number
            for number in range(1, workers + 1)
        }
        failed = _wait(ray, sent, progress)
    if failed:
        raise UserError(f"{len(failed)} of {workers} shares failed", problems=tuple(failed))


def _wait(ray: Any, sent: dict[Any, int], progress: Progress) -> list[str]:
    """What went wrong, a line each, once all shares have ended."""
    failed, waiting, total = [], list(sent), len(sent)
    try:
        while waiting:
            ready, waiting = ray.wait(waiting, timeout=_POLL_S)
            for answer in ready:
                try:
                    said = ray.get(answer)
                except ray.exceptions.RayError as error:
                    said = f"{error}".strip().rpartition("\n")[2] or type(error).__name__
                if said:
                    failed.append(f"share {sent[answer]} of {total}: {said}")
                progress({"what": "shares", "done": total - len(waiting), "total": total})
    finally:
        for answer in waiting:
            ray.cancel(answer, force=True)
    return failed


def _share(request: Request, home: str, number: int, shares: int, shared: Shared) -> str:
    """Runs on a worker: "" where the share is finished, else why not."""
    if problem := not_shared(shared):
        return problem
    os.environ["EDGEXAI_HOME"] = home
    try:
        with opened(request) as ready:
            measure_share(ready, home=Path(home), shard=number, shards=shares, timed=False, progress=_silent)
    except EdgexaiError as error:
        return f"{socket.gethostname()}: {error}"
    return ""


def _silent(event: object) -> None:
    """The share's own progress stays on its machine: what counts is on disk."""
