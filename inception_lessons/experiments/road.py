"""The log of the course: each lesson's network at laptop size, from V1 to Inception-ResNet, under one recipe."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from inception_lessons import measure, train
from inception_lessons.bn_inception import BNInception
from inception_lessons.experiments.engine import (
    VERDICTS,
    Verdict,
    experiment,
    interval,
    judges,
    paired,
    results,
    trained,
)
from inception_lessons.googlenet import GoogLeNet
from inception_lessons.inception_resnet import InceptionResNetV1, InceptionResNetV2
from inception_lessons.inception_v3 import InceptionV3
from inception_lessons.inception_v4 import InceptionV4
from inception_lessons.train import Recipe

NETWORKS = {
    network.__name__: network
    for network in (GoogLeNet, BNInception, InceptionV3, InceptionV4, InceptionResNetV1, InceptionResNetV2)
}


@experiment(
    "LOG",
    claim="from V1 to Inception-ResNet each network reads more than the one before it",
    threshold="test accuracy after 250 steps, each network minus the one before it in the papers' order: all intervals "
    "above 0 holds; the last network minus the first above 0 in part, below 0 the opposite",
    arms={
        "V1": {"lesson": "01", "network": "GoogLeNet", "norm": "none"},
        "V1 with batch norm": {"lesson": "02", "network": "GoogLeNet", "norm": "bn"},
        "V2, BN-Inception": {"lesson": "02", "network": "BNInception"},
        "V3": {"lesson": "03", "network": "InceptionV3"},
        "V3, labels smoothed": {"lesson": "04", "network": "InceptionV3", "smoothing": 0.1},
        "V4": {"lesson": "05", "network": "InceptionV4"},
        "Inception-ResNet-v1": {"lesson": "05", "network": "InceptionResNetV1"},
        "Inception-ResNet-v2": {"lesson": "05", "network": "InceptionResNetV2"},
    },
    rates=(0.001, 0.002, 0.005, 0.01, 0.02),
    recipe=Recipe(steps=250, optimizer="adamw"),
)
def log_of_the_course(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)
    changes = {"norm": arm["norm"]} if "norm" in arm else {}
    model = NETWORKS[arm["network"]].laptop(len(images.classes), **changes)
    cost = measure.count(model, 32)
    recipe = replace(recipe, label_smoothing=arm.get("smoothing", 0.0))
    found, _ = trained(model, recipe, seed, images, final, watch)
    if final:  # of the labels as they are: a smoothed training loss cannot be compared
        found["test_loss"] = train.evaluate(model, images.test).loss
    return found | {"params": cost.params, "macs": cost.macs}


@judges(log_of_the_course)
def _(arms):
    names = list(arms)
    steps = {b: paired(arms, b, a, "test_accuracy") for a, b in zip(names, names[1:], strict=False)}
    whole = paired(arms, names[-1], names[0], "test_accuracy")
    word = VERDICTS[2]
    if all(step.low > 0 for step in steps.values()):
        word = VERDICTS[0]
    elif whole.low > 0:
        word = VERDICTS[1]
    elif whole.high < 0:
        word = VERDICTS[3]
    return Verdict(
        word,
        f"accuracy minus that of the network before it: {'; '.join(f'{name} {step}' for name, step in steps.items())}; "
        f"the last minus the first: {whole}",
    )


def log(lesson: str) -> tuple[list[str], list[Sequence]]:
    """Number of a lesson, "02" -> columns and rows for ``plots.table``: one row a network, up to that lesson.

    What each idea bought (test loss in nats and accuracy with its 95 % interval, five seeds, each network at its own
    best rate) and what it cost (parameters, multiply-adds of one 32 x 32 image, processor seconds of one run on one
    thread). Raises ValueError for a lesson that no row belongs to.
    """
    found, lesson = results("LOG"), str(lesson)
    shown = {name: arm for name, arm in log_of_the_course.arms.items() if arm["lesson"] <= lesson}
    if lesson not in {arm["lesson"] for arm in log_of_the_course.arms.values()}:
        raise ValueError(f"no network of the log belongs to lesson {lesson!r}; it runs from '01' to '05'")
    rows = []
    for name, arm in shown.items():
        runs = [run for run in found["runs"] if run["arm"] == name]
        accuracy = interval([run["test_accuracy"] for run in runs])
        rows.append(
            [
                arm["lesson"],
                name,
                runs[0]["params"],
                runs[0]["macs"],
                f"{sum(run['cpu_seconds'] for run in runs) / len(runs):.0f}",
                f"{sum(run['test_loss'] for run in runs) / len(runs):.2f}",
                f"{accuracy.mean:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]",
            ]
        )
    columns = ["lesson", "network", "parameters", "multiply-adds", "processor seconds", "test loss", "test accuracy"]
    return columns, rows
