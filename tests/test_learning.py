"""At laptop size every network learns the default pictures within a lesson's budget: a loss well below ln(10)."""

import pytest
import torch

from inception_lessons import data, train, weights

#: Class, arguments, steps of AdamW, rate. Seen after as many steps with two seeds: 0.96 to 1.95.
RUNS = {
    "V1": ("GoogLeNet", {"norm": "bn"}, 80, 0.005),
    "V2": ("BNInception", {}, 80, 0.005),
    "V3": ("InceptionV3", {}, 80, 0.005),
    "V4": ("InceptionV4", {}, 80, 0.005),
    "R1": ("InceptionResNetV1", {}, 80, 0.005),
    "R2": ("InceptionResNetV2", {}, 80, 0.005),
    "R2 slim": ("InceptionResNetV2", {"variant": "slim"}, 80, 0.005),
    "AlexNet": ("AlexNet", {}, 160, 0.001),
    "VGG": ("VGG16", {"norm": "bn"}, 120, 0.001),
    "NIN": ("NIN", {"norm": "bn"}, 100, 0.005),
}


@pytest.fixture(scope="module")
def images():
    return data.digits_in_the_wild()


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for a busy core spin: on a shared machine two can take ten times as long as one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_learns_the_default_pictures(name, images):
    kind, settings, steps, rate = RUNS[name]
    torch.manual_seed(0)
    model = weights.NETWORKS[kind].laptop(**settings)
    recipe = train.Recipe(steps=steps, lr=rate, optimizer="adamw")
    history = train.fit(model, images.train, recipe=recipe, progress=False)
    assert history.stopped is None
    assert sum(history.loss[:5]) / 5 < 3.2  # the start is near ln(10) = 2.30
    assert history.final_loss() < 2.05
