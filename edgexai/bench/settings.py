"""How much of everything is run: the full bench for a quiet machine, and a quick look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BenchSettings:
    """Sizes and counts.

    Attributes:
        rounds: of the families that time seconds of work (epoch, data, lime, adversarial, detect).
        batch_size: of training.
        segment_batches: batches of one timed piece of an epoch.
        signs_per_class: rendered training images, where GTSRB is not on this machine.
        data_images: images written to the folder that torchvision reads.
        lime_images, lime_samples, lime_cells: images per round, masks per image, grid cells per side.
        networks: for latencies.
        single_repeats, batch_repeats: timed calls at batch 1, and at larger batches.
        batches: sizes among which the best is looked for.
        large_batch: of the int8 family.
        calibration_images: for int8; random, as only speed is looked at.
        startup_runs: subprocesses.
        attack_batches, attack_steps: of one timed FGSM epoch, others take half; steps of PGD and TRADES.
        detect_images, detect_samples: of one LIME round of training.
        memory_epochs: of the trainings whose memory is watched, at least 6.
        target_shares, target_repeats: latencies asked of pruning, as shares of the dense network's; timed calls.
        road_images: of ROAD beside Quantus.
        measure_images: of a whole scoring of maps.
        coverage_studies: simulated studies of every kind of interval.
        gradient_images: of the gradient methods that take many points an image.
        trained_per_class, trained_epochs: of the network whose LIME explanations are compared.
        stability_images, stability_seeds: explained images, draws of masks for each.
        stability_reference, stability_samples: masks of the reference, and the counts held against it; lime_samples,
            one of them, is the goal that other designs must reach.
    """

    rounds: int = 9
    batch_size: int = 64
    segment_batches: int = 30
    signs_per_class: int = 60
    data_images: int = 1920
    lime_images: int = 2
    lime_samples: int = 1000
    lime_cells: int = 8
    networks: tuple[str, ...] = ("signnet", "resnet18")
    single_repeats: int = 60
    batch_repeats: int = 9
    batches: tuple[int, ...] = (8, 32, 64)
    large_batch: int = 64
    calibration_images: int = 32
    startup_runs: int = 15
    attack_batches: int = 16
    attack_steps: int = 3
    detect_images: int = 8
    detect_samples: int = 256
    memory_epochs: int = 20
    target_shares: tuple[float, ...] = (0.5, 0.75)
    target_repeats: int = 200
    road_images: int = 100
    measure_images: int = 32
    coverage_studies: int = 2000
    gradient_images: int = 20
    trained_per_class: int = 60
    trained_epochs: int = 14
    stability_images: int = 8
    stability_seeds: int = 4
    stability_reference: int = 20_000
    stability_samples: tuple[int, ...] = (100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 1000, 1500)


FULL = BenchSettings()
QUICK = BenchSettings(
    rounds=3,
    segment_batches=15,
    data_images=960,
    lime_images=1,
    single_repeats=20,
    batch_repeats=3,
    batches=(32,),
    large_batch=32,
    coverage_studies=200,
    gradient_images=10,
    trained_per_class=30,
    trained_epochs=6,
    stability_images=3,
    stability_seeds=2,
    stability_reference=4000,
    stability_samples=(100, 150, 200, 300, 500, 700, 1000),
    road_images=20,
    measure_images=16,
    startup_runs=7,
    attack_batches=10,
    attack_steps=2,
    detect_images=4,
    target_repeats=40,
)
