"""Two processes over gloo end in the weights of one, up to the order of float sums; and what breaks that is seen."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from loops import L2, PGD, PLAIN, SETTINGS, StopError, fit, nothing, stop_after
from planted import GRID, bars, signnet, vgg
from torch import Tensor, nn

from edgexai.errors import UserError
from edgexai.models.base import Network
from edgexai.train import IN_PARALLEL, METHODS, loop
from edgexai.train.adversarial import AdversarialSettings
from edgexai.train.detect import DetectSettings
from edgexai.train.lime_refined import RefineSettings, refine
from edgexai.train.parallel import ALONE, Team
from edgexai.train.share import ProcessLost, Share
from edgexai.train.shared_layers import shared_layers

REFINE = RefineSettings(
    rounds=2,
    epochs=1,
    batch_size=9,
    lr=0.02,
    weight_decay=5e-4,
    mask_probability=0.7,
    replace="swap",
    sensitivity_weight=0.1,
    adversarial_weight=1.0,
    eps=8 / 255,
)
DETECTION = DetectSettings(GRID, 8, 32, 2, "roi", 0.7, 0.8, 0.5, 0.25, 0.3)
# Weights are kept in double: in single precision a max-pooling tie or the sign of a gradient near 0 falls otherwise now
# and then, and a few steps enlarge that to 1e-2, between two processes and one as between one and itself moved by 1e-7.
CLOSE = (
    1e-6  # of weights around 1, after six steps; found: 1e-8 where LIME's images carry a gradient, else 1e-9 or less
)
ODD = replace(PLAIN, batch_size=9, epochs=2, lr=0.02)  # nine images are five and four
CASES: dict[str, Any] = {
    "natural": ODD,
    "fgsm": replace(SETTINGS["fgsm"], plain=ODD),
    "trades": replace(SETTINGS["trades"], plain=ODD),
    "lime": REFINE,
}
MORE: dict[str, Any] = {
    "vgg": replace(ODD, lr=0.01),
    "flip_crop": replace(ODD, augment="flip_crop"),
    "pgd": AdversarialSettings(ODD, PGD, clean_weight=0.0, patience=1),
    "l2": AdversarialSettings(ODD, L2),
    "advprop": replace(SETTINGS["advprop"], plain=ODD),
    "lime, masks only": replace(REFINE, adversarial_weight=0.0, sensitivity_weight=0.0),
    "lime, regulariser only": replace(REFINE, adversarial_weight=0.0, mask_probability=0.0),
}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def train(case: str, work: Path, team: Team, **more: Any) -> dict[str, Tensor]:
    net: Network = (vgg() if case == "vgg" else signnet()).double()
    if isinstance({**CASES, **MORE}[case], RefineSettings):
        words: dict[str, Any] = {"progress": nothing, "seed": 0, "detection": DETECTION, **more}
        refine(net, bars(29, 1), bars(12, 2), settings={**CASES, **MORE}[case], work=work, team=team, **words)
    else:
        fit(net, {**CASES, **MORE}[case], work, train=bars(29, 1), team=team, **more)
    assert not net.training
    return {k: v.detach().clone() for k, v in net.state_dict().items()}


def _member(rank: int, size: int, port: int, folder: str, task: Callable[[Team, Path], Any]) -> None:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=size, timeout=timedelta(seconds=60))
    try:
        torch.save(task(Team(rank, size, dist.group.WORLD), Path(folder, str(rank))), Path(folder, f"{rank}.pt"))
    finally:
        dist.destroy_process_group()


def together(task: Callable[[Team, Path], Any], folder: Path, *, size: int = 2) -> list[Any]:
    """What every process returns."""
    mp.spawn(_member, (size, free_port(), str(folder), task), nprocs=size)
    return [torch.load(folder / f"{rank}.pt") for rank in range(size)]


def furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[k].double() - other[k].double()).abs().max()) for k in one)


def cases(team: Team, folder: Path) -> dict[str, dict[str, Tensor]]:
    return {case: train(case, folder / case, team) for case in CASES}


def more(team: Team, folder: Path) -> dict[str, dict[str, Tensor]]:
    return {case: train(case, folder / case, team) for case in MORE}


def every_task(team: Team, folder: Path) -> dict[str, Any]:
    return {task.__name__: task(team, folder / task.__name__) for task in (cases, broken, stop_and_go_on, steps)}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Task -> what both processes return; one start of two processes for all, since that is what takes long."""
    found = together(every_task, tmp_path_factory.mktemp("two"))
    return {name: [one[name] for one in found] for name in found[0]}


@pytest.fixture(scope="module")
def more_pair(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    return together(more, tmp_path_factory.mktemp("more"))


def apart(case: str, found: list[dict[str, dict[str, Tensor]]], alone: dict[str, Tensor]) -> list[str]:
    """What is wrong unless both processes hold the same bits, and those are one process's up to float order."""
    distance = furthest(alone, found[0][case])
    wrong = [] if distance < CLOSE else [f"{distance} from one process"]
    wrong += [] if furthest(alone, {k: v * 0 for k, v in alone.items()}) > 0.1 else ["the weights are all near 0"]
    same = all(torch.equal(v, found[1][case][k]) for k, v in found[0][case].items())
    return wrong + ([] if same else ["the two processes end apart"])


@pytest.mark.parametrize("case", CASES)
def test_two_processes_end_as_one(case: str, two: Any, tmp_path: Path) -> None:
    assert apart(case, two["cases"], train(case, tmp_path, ALONE)) == []


def naturally(team: Team, folder: Path) -> dict[str, Tensor]:
    return train("natural", folder, team)


@pytest.mark.slow
def test_three_processes_end_as_one(tmp_path: Path) -> None:
    alone = train("natural", tmp_path / "alone", ALONE)
    for found in together(naturally, tmp_path, size=3):
        assert furthest(alone, found) < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("case", MORE)
def test_two_processes_end_as_one_in_every_loop(case: str, more_pair: Any, tmp_path: Path) -> None:
    assert apart(case, more_pair, train(case, tmp_path, ALONE)) == []


def broken(team: Team, folder: Path) -> dict[str, dict[str, Tensor]]:
    """The same training with one thing wrong at a time."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "shared_layers", lambda *_: nullcontext())
        found["each normalises by its own rows"] = train("natural", folder / "norms", team)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Share, "weighted", lambda share, mean: mean / share.size)
        found["uneven shares weigh the same"] = train("natural", folder / "weights", team)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Share, "add_gradients", lambda share, net: None)
        found["gradients are not added"] = train("natural", folder / "gradients", team)
    return found


def test_what_is_left_out_is_seen(two: Any, tmp_path: Path) -> None:
    alone = train("natural", tmp_path, ALONE)
    for what, state in two["broken"][0].items():
        assert furthest(alone, state) > 100 * CLOSE, what


def stop_and_go_on(team: Team, folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    with pytest.raises(StopError):
        train("natural", folder / "stopped", team, progress=stop_after(1))
    return train("natural", folder / "stopped", team), train("natural", folder / "whole", team)


def test_stopped_and_started_again_ends_in_the_same_bits(two: Any) -> None:
    for again, whole in two["stop_and_go_on"]:
        assert all(torch.equal(v, whole[k]) for k, v in again.items())


def lose_one(team: Team, folder: Path) -> str:
    def leave(_: Any) -> None:
        if not team.leads:
            os._exit(0)  # as a kill would: no goodbye

    with pytest.raises(ProcessLost) as error:
        train("natural", folder / "lost", team, progress=leave)
    return str(error.value)


def test_a_lost_process_ends_the_other(tmp_path: Path) -> None:
    mp.spawn(_member, (2, free_port(), str(tmp_path), lose_one), nprocs=2)
    told = torch.load(tmp_path / "0.pt")
    assert "another process" in told
    assert "run the same command again" in told
    assert not (tmp_path / "1.pt").exists()


def layers(*, track: bool = True) -> nn.Sequential:
    first, second = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 5)
    found = nn.Sequential(first, nn.BatchNorm2d(4, track_running_stats=track), nn.Tanh(), nn.Flatten(), nn.Dropout(0.4))
    found.extend([second, nn.BatchNorm1d(5, affine=False, momentum=None)])
    drawn = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for values in found.parameters():
            values.copy_(torch.rand(values.shape, generator=drawn) - 0.4)
    return found.double()


def one_step(net: nn.Sequential, images: Tensor, share: Share) -> dict[str, Tensor]:
    """A loss with a gradient penalty: values, gradients and gradients of gradients all pass through the layers."""
    torch.manual_seed(7)
    with shared_layers(net, share):
        mine = share.mine(images).clone().requires_grad_(True)
        # twice the rows, as a clean and an attacked batch that pass together
        out = net(torch.cat([mine, mine.flip(1)]))
        (gradient,) = torch.autograd.grad(out.pow(3).sum(), mine, create_graph=True)
        loss = (out.pow(2).sum() + gradient.square().sum()) / (2 * len(images))
        loss.backward()
        share.add_gradients(net)
    found = {f"gradient {k}": v.grad for k, v in net.named_parameters() if v.grad is not None}
    assert len(found) == len(list(net.parameters()))
    return {**found, **net.state_dict(), "loss": share.sum(loss.detach())}


def steps(team: Team, _: Path) -> list[dict[str, Tensor]]:
    images = torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 50
    return [one_step(layers(track=track), images, team.share(7)) for track in (True, False)]


def test_layers_have_the_derivatives_of_the_whole_batch(two: Any, tmp_path: Path) -> None:
    """Three and four rows, against torch's own layers on all seven."""
    wanted = steps(ALONE, tmp_path)
    for found in two["steps"]:
        for one, other in zip(wanted, found, strict=True):
            assert furthest(one, other) < 1e-8 * max(float(v.abs().max()) for v in one.values())


def test_layers_change_back_and_eval_is_untouched() -> None:
    net = layers()
    images, kinds = torch.rand(4, 3, 8, 8, dtype=torch.float64), [type(m) for m in net.modules()]
    wanted = net.eval()(images)
    with shared_layers(net, Share(0, 2, 8)):
        assert [type(m) for m in net.modules()] != kinds
        assert torch.equal(net(images), wanted)
    assert [type(m) for m in net.modules()] == kinds
    assert not any(hasattr(m, "share") for m in net.modules())


def test_another_dropout_is_refused() -> None:
    with (
        pytest.raises(UserError, match="AlphaDropout"),
        shared_layers(nn.Sequential(nn.AlphaDropout()), Share(0, 2, 4)),
    ):
        pass
    with shared_layers(nn.Sequential(nn.AlphaDropout()), Share(0, 1, 4)):
        pass


@pytest.mark.parametrize(("batch", "size"), [(8, 2), (9, 2), (7, 3), (3, 3), (5, 1)])
def test_shares_are_the_batch(batch: int, size: int) -> None:
    shares, whole = [Share(rank, size, batch) for rank in range(size)], torch.arange(batch)
    assert torch.equal(torch.cat([share.mine(whole) for share in shares]), whole)
    assert sum(share.weight for share in shares) == pytest.approx(1)
    assert max(s.rows for s in shares) - min(s.rows for s in shares) <= 1
    assert [share.whole(2 * share.rows) for share in shares] == [2 * batch] * size


def test_a_batch_smaller_than_the_team_is_refused() -> None:
    with pytest.raises(UserError, match="2 images"):
        Share(0, 3, 2)


def test_every_loop_takes_a_team() -> None:
    for name in IN_PARALLEL:
        assert "team" in signature(METHODS[name].load()).parameters
