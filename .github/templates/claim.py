"""A claim as `inception_lessons/experiments/lesson_NN.py` has it: arms, recipe, measurement, verdict rule.

A template: copy what is below into the lesson's file, change it, and add the claim to ``PAPER`` in ``ledger.py``. The
threshold is written before the first run: a file of results that was made under another one is refused.
"""

import torch

from inception_lessons import googlenet, measure
from inception_lessons.experiments.engine import (
    Verdict,
    as_ratio,
    decide,
    experiment,
    judges,
    log_ratios,
    paired,
    trained,
)
from inception_lessons.train import Recipe


@experiment(
    "X1",
    claim="without normalization, GoogLeNet reads more digits if it begins from He's start than from PyTorch's",
    threshold="test accuracy, He's start minus PyTorch's: interval above +0.05 holds, above 0 in part",
    arms={"He's start": {"init": "he"}, "PyTorch's start": {"init": "torch"}},  # they differ in one thing only
    rates=(0.001, 0.002, 0.005, 0.01, 0.02),  # each arm at its own best, chosen on the validation split
    recipe=Recipe(steps=250, optimizer="adamw"),
)
def x1(arm, recipe, seed, images, final, watch=None):
    torch.manual_seed(seed)  # before the network is built: the starting weights belong to the run
    model = googlenet.GoogLeNet.laptop(len(images.classes), norm="none", init=arm["init"])
    cost = measure.count(model, images.train.images.shape[-1])
    found, history = trained(model, recipe, seed, images, final, watch)
    found["steps_to"] = history.steps_to(1.5) or recipe.steps  # never there: the whole run, which understates
    return found | {"params": cost.params, "macs": cost.macs}


@judges(x1)
def _(arms):
    better = paired(arms, "He's start", "PyTorch's start", "test_accuracy")
    slower = as_ratio(log_ratios(arms, "PyTorch's start", "He's start", "steps_to"))
    return Verdict(
        decide(better, 0.05),
        f"accuracy with He's start minus PyTorch's: {better}; steps to a loss of 1.5, PyTorch's over He's: {slower}",
    )
