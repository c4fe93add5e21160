"""Inception Lessons: the Inception networks, small enough to read and honest enough to measure.

Values flow one way: data -> model -> train -> look. The four stages do not import each other; a notebook joins them.

    data          image sets as named splits              layers       the words all networks are written in
    train         fit, evaluate, History, recipes         googlenet    Inception V1
    measure       parameters, multiply-adds, stages       baselines    what Inception is measured against
    look          activations, branches, ablations        weights      checkpoints, ours and converted ones
    plots         arrays in, charts out                   experiments  one function per claim
    widgets       sliders over look, measure and plots    __main__     python -m inception_lessons ...

Importing the package does no work; import the module that you need: ``from inception_lessons import data, googlenet,
train``.
"""

__version__ = "0.1.0"
