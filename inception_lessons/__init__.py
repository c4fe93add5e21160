"""Inception Lessons: the Inception networks, small enough to read and honest enough to measure.

Values flow one way: data -> model -> train -> look. The four stages do not import each other; a notebook joins them.

    data          image sets as named splits              layers            the words all networks are written in
    train         fit, evaluate, History, recipes         googlenet         Inception V1
    measure       parameters, multiply-adds, stages       bn_inception      Inception V2
    look          activations, branches, ablations        inception_v3      Inception V3
    plots         arrays in, charts out                   inception_v4      Inception V4
    widgets       sliders over look, measure and plots    inception_resnet  Inception-ResNet v1 and v2
    experiments   one function per claim                  baselines         AlexNet, VGG-16, NIN and a plain network
    fetch         downloads, checked                      weights           checkpoints, ours and published ones
    script        training from a script                processes         several of them, one network
    export        torch.export, ONNX, 8-bit numbers       locks             one run in a folder, one download of a file
    checks        a learner's answer, in sentences        sandbox           it runs in a process of its own
    assignments   learners' copies, a course to mark      exercises         checks of the small ones in lessons
    __main__      python -m inception_lessons ...

Importing the package does no work; import the module that you need: ``from inception_lessons import data, googlenet,
train``.
"""

__version__ = "0.1.0"
