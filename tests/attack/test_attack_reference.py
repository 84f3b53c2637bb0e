"""Verdicts beside two independent implementations: the authors' AutoAttack and torchattacks.

The network is trained for seconds on rendered signs, with one-step adversarial training so that attacks have work to
do; the images are 200 photographs of GTSRB that it gets right.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_network import as_predict

from edgexai.attack.apgd import apgd
from edgexai.attack.ensemble import ensemble
from edgexai.attack.fgsm import fgsm
from edgexai.config.recipe import DataTable
from edgexai.data.load import load
from edgexai.data.signs import render

pytestmark = [pytest.mark.slow, pytest.mark.data]
EPS = {"linf": 4 / 255, "l2": 0.5}
THEIRS = {"linf": "Linf", "l2": "L2"}
Case = tuple[torch.nn.Module, torch.Tensor, torch.Tensor]


class _Normalise(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - 0.5) / 0.25


@pytest.fixture(scope="module")
def case() -> Case:
    signs = render(name="signs", size=32, per_class=60, seed=0, stages=("train",))["train"]
    x, y = torch.from_numpy(signs.as_float()), torch.from_numpy(signs.labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[torch.nn.Module] = [_Normalise()]
        for before, after in ((3, 16), (16, 32), (32, 48)):
            layers += [torch.nn.Conv2d(before, after, 3, 2, 1), torch.nn.ReLU()]
        net = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(48 * 16, 43))
    optimiser = torch.optim.Adam(net.parameters(), 1.5e-3)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(12):
        for index in torch.randperm(len(x), generator=generator).split(64):
            batch = fgsm(net, x[index], y[index], eps=EPS["linf"], seed=epoch, random_start=True)
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(batch), y[index]).backward()
            optimiser.step()
    net.eval().requires_grad_(False)
    photographs = load(DataTable(name="gtsrb"), seed=0).splits["test"]
    photographs = photographs.take(np.random.default_rng(0).permutation(len(photographs))[:1500])
    images, labels = torch.from_numpy(photographs.as_float()), torch.from_numpy(photographs.labels)
    right = (net(images).argmax(1) == labels).nonzero()[:200, 0]
    assert len(right) == 200
    return net, images[right], labels[right]


def apart(ours: Any, theirs: Any) -> list[str]:
    """What is wrong unless 98 % of verdicts agree and our robust accuracy is at most a point above. True = stands."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    same, mine, other = (ours == theirs).mean(), ours.mean(), theirs.mean()
    found = [] if 0.2 < other < 0.8 else [f"{other} stand: agreement would say nothing"]
    found += [] if same >= 0.98 else [f"only {same} of the verdicts agree"]
    return found + ([] if mine <= other + 0.01 else [f"ours finds {mine} robust, theirs {other}"])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_apgd_beside_the_authors(case: Case, norm: Any, loss: Any) -> None:
    reference = pytest.importorskip("pyautoattack.autopgd_base", reason="pip install 'edgexai[reference]'")
    net, x, y = case
    words = {"n_iter": 100, "norm": THEIRS[norm], "eps": EPS[norm], "seed": 1, "device": "cpu"}
    words["logger"] = logging.getLogger("reference")
    if loss == "ce":
        attack = reference.APGDAttack(net, loss="ce", **words)
    else:
        attack = reference.APGDAttack_targeted(net, **words)
        attack.n_target_classes = 9
    theirs = net(attack.perturb(x, y)).argmax(1) == y
    ours = apgd(net, x, y, eps=EPS[norm], seed=0, loss=loss, norm=norm, stop_when_fooled=True)
    assert apart(~ours.fooled, theirs) == []


@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_apgd_beside_torchattacks(case: Case, loss: Any) -> None:
    torchattacks = pytest.importorskip("torchattacks", reason="pip install --no-deps torchattacks")
    net, x, y = case
    words = {"eps": EPS["linf"], "steps": 100, "norm": "Linf", "seed": 1}
    attack = torchattacks.APGD(net, loss="ce", **words) if loss == "ce" else None
    attack = attack or torchattacks.APGDT(net, n_classes=10, **words)
    theirs = net(attack(x, y)).argmax(1) == y
    ours = apgd(net, x, y, eps=EPS["linf"], seed=0, loss=loss, stop_when_fooled=True)
    assert apart(~ours.fooled, theirs) == []


def test_ensemble_beside_the_authors_standard_version(case: Case, tmp_path: Path) -> None:
    """Theirs has FAB-T too; what it adds must stay within the tolerance."""
    reference = pytest.importorskip("pyautoattack", reason="pip install 'edgexai[reference]'")
    net, x, y = case
    theirs = reference.AutoAttack(net, eps=EPS["linf"], norm="Linf", seed=1, version="standard", device="cpu")
    points, _ = theirs.run_standard_evaluation(x, y, batch_size=200)
    ours = ensemble(as_predict(net), x.numpy(), y.numpy(), eps=EPS["linf"], seed=0, model=net, work=tmp_path)
    assert ours.parts == ("apgd-ce", "apgd-dlr", "square")
    assert apart(ours.standing, net(points).argmax(1) == y) == []
