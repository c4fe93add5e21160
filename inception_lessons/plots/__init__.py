"""Numbers in, charts out. A ``Chart`` is a picture with a sentence for those who cannot see it; a notebook shows it
as the last value of a cell.

The charts stand in a file for each kind; what they share, the palette and the style, is in ``base``.
"""

# ruff: noqa: F401 (the names that lessons use)
from inception_lessons.plots.base import BRANCHES, LINES, MARKERS, PALETTE, Chart, Look, canvas, look_of, styled
from inception_lessons.plots.compare import linked, ranks
from inception_lessons.plots.curves import LiveLoss, bars, lines, losses, seeds
from inception_lessons.plots.grids import heat, matrix
from inception_lessons.plots.images import filters, gallery, maps, occlusion, pictures
from inception_lessons.plots.modules import module
from inception_lessons.plots.racers import AXES, QUANTITIES, Place, Racer, finish, standing
from inception_lessons.plots.racing import race
from inception_lessons.plots.speed import KINDS, costs, roofline, shares
from inception_lessons.plots.words import Markdown, source, table
