"""Every trained claim of the course as a short function: what differs between the arms, what is measured, and the
rule that decides.

python -m inception_lessons experiments N1 --seeds 5

runs a claim over several processes of one thread each (bit-identical on one machine), resumes where it was killed, and
writes ``data/results/N1.json``. The claims stand in a file for each lesson; what they share is in ``engine``.
"""

# ruff: noqa: F401 (the names that lessons use; claims are in the order of the course)
from inception_lessons.experiments.engine import (
    DATASETS,
    EVERY,
    EXPERIMENTS,
    SWEEP_SEEDS,
    VERDICTS,
    Experiment,
    Interval,
    Verdict,
    as_ratio,
    curves,
    decide,
    decide_ratio,
    experiment,
    find,
    hardware,
    images_of,
    interval,
    judges,
    log_ratios,
    main,
    paired,
    results,
    run,
    run_one,
    trained,
    verdict,
)
from inception_lessons.experiments.lesson_01 import SIZES, accuracy_by_size, share_lost, stem_gradient
from inception_lessons.experiments.lesson_02 import RATES, Perceptron, steepest, whitening
from inception_lessons.experiments.lesson_03 import FORMS, REDUCTIONS, Reduction, TwoReductions, share_saved
from inception_lessons.experiments.lesson_04 import smoothing_optimum, wrong_labels

from inception_lessons.experiments import lesson_03, lesson_04, lesson_05  # isort: skip (the claims in their order)
from inception_lessons.experiments.lesson_05 import dead_channels, signal_by_depth  # isort: skip
from inception_lessons.experiments.road import log  # isort: skip
from inception_lessons.experiments.lesson_06 import (  # isort: skip
    agreement,
    at_equal,
    bake_off_network,
    order,
    raced,
    racer,
    racers,
    spent,
)
from inception_lessons.experiments.lesson_07 import FIELD, LAYOUTS, by_network  # isort: skip
from inception_lessons.experiments.ledger import (  # isort: skip
    claim_of,
    counted_verdict,
    entries,
    printed_verdicts,
    say,
    stored,
    where,
)
