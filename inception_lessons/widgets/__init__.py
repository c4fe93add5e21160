"""Sliders over look and plots. Each widget is a plain function from a state to a chart, with a thin skin of
controls.

The skin shows the controls and one picture, and replaces the picture when a control moves; where no front end listens
(a page on the web, a freshly cloned notebook) the picture stays, so nothing that is taught is only in the sliders. The
widgets stand in a file for each lesson; what they share is in ``controls``.
"""

# ruff: noqa: F401 (the names that lessons use)
from inception_lessons.widgets.controls import show
from inception_lessons.widgets.lesson_00 import data_browser, data_chart
from inception_lessons.widgets.lesson_01 import branch_chart, branch_explorer, module_calculator
from inception_lessons.widgets.lesson_02 import (
    batch_chart,
    batch_playground,
    checks_chart,
    depth_chart,
    depth_histograms,
    descent_chart,
    unit_chart,
)
from inception_lessons.widgets.lesson_03 import (
    difference_chart,
    receptive_viewer,
    reduction_chart,
    reduction_chooser,
    sight_chart,
)
from inception_lessons.widgets.lesson_04 import (
    reliability_chart,
    reliability_diagram,
    reliability_panels,
    smoothing_chart,
    smoothing_slider,
)
from inception_lessons.widgets.lesson_05 import block_browser, block_chart, residual_scale, signal_chart
from inception_lessons.widgets.lesson_06 import linked_views, race, race_chart
from inception_lessons.widgets.lesson_07 import cost_chart, cost_explorer
from inception_lessons.widgets.lesson_08 import occlusion_browser, occlusion_chart, visualizer, visualizer_chart
