"""The script's door: ``python -m inception_lessons train | experiments | assignments | checkpoint ...``."""

import os
import sys


def main(arguments: list[str]) -> int:
    """Hand the arguments to the command they name; returns the exit status, 2 for an unknown command."""
    commands = {"train": _train, "experiments": _experiments, "assignments": _assignments, "checkpoint": _checkpoint}
    if not arguments or arguments[0] not in commands:
        print(f"usage: python -m inception_lessons {' | '.join(commands)} ... (each with --help)", file=sys.stderr)
        return 2
    try:
        return commands[arguments[0]](arguments[1:])
    except (ValueError, OSError, MemoryError, ModuleNotFoundError) as error:
        who = f" (process {os.environ['RANK']})" if "RANK" in os.environ else ""  # one of several, under torchrun
        print(f"inception_lessons{who}: {error}", file=sys.stderr)
        return 1


def _train(arguments: list[str]) -> int:
    from inception_lessons import script

    return script.main(arguments)


def _experiments(arguments: list[str]) -> int:
    from inception_lessons import experiments

    return experiments.main(arguments)


def _assignments(arguments: list[str]) -> int:
    from inception_lessons import assignments

    return assignments.main(arguments)


def _checkpoint(arguments: list[str]) -> int:
    """Train the network whose weights ship with the course: ``checkpoint [--out FILE] [--seed 0] [--steps 2000]``."""
    import argparse
    import time

    import torch

    from inception_lessons import data, experiments, googlenet, train, weights

    parser = argparse.ArgumentParser(prog="python -m inception_lessons checkpoint", description=_checkpoint.__doc__)
    parser.add_argument("--out", default=None, help="safetensors file (default: data/googlenet.safetensors)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2000)
    chosen = parser.parse_args(arguments)

    images, settings = data.digits_in_the_wild(), {"norm": "bn", "width": 0.375}
    torch.manual_seed(chosen.seed)
    model = googlenet.GoogLeNet.laptop(len(images.classes), **settings)
    recipe = train.Recipe(steps=chosen.steps, lr=0.1, weight_decay=5e-4, schedule="cosine", warmup=20)
    start = time.perf_counter()
    history = train.fit(
        model,
        images.train,
        images.validation,
        recipe,
        seed=chosen.seed,
        augment=data.Augment(crop=2),
        validate_every=500,
    )
    if history.stopped:
        raise ValueError(history.stopped)
    scores = train.evaluate(model, images.test)
    about = {
        "network": "GoogLeNet",
        "settings": settings,
        "data": images.name,
        "data_sha256": data.fingerprint(images),
        "command": f"python -m inception_lessons checkpoint --seed {chosen.seed} --steps {chosen.steps}",
        "validation_accuracy": round(history.validation[-1][2], 4),
        "test_accuracy": round(scores.accuracy, 4),
        "seconds": round(time.perf_counter() - start),
        "hardware": experiments.hardware(),
        "torch": torch.__version__,
    }
    path = weights.save(chosen.out or weights.folder() / "googlenet.safetensors", model, about)
    print(
        f"{path.name}: validation {about['validation_accuracy']:.2%}, test {about['test_accuracy']:.2%}, "
        f"{about['seconds']} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
