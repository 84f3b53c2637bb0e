"""Train-mode passes that leave the running statistics of batch norm alone.

The passes that make an attack are not data: without this, the statistics a network is deployed with would be averages
over half-made adversarial images. Eval mode is no way out: the attack would then meet another network than the one
that is trained, and code that forgets to go back trains without batch statistics and dropout ever after.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen_statistics(net: nn.Module) -> Iterator[None]:
    """Inside, batch norms of ``net`` in train mode normalise by the batch as ever, and do not remember it."""
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
