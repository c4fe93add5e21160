"""What a reader of a chart would trip over, for the tests of charts."""

from matplotlib.text import Text

from inception_lessons.plots import Chart


def cut_off(chart: Chart) -> list[str]:
    """Texts of a chart that reach beyond its edge, numbers at the axes left out: those beyond are not drawn."""
    figure = chart.figure
    figure.draw_without_rendering()  # the layout decides where things are
    edge, numbers = figure.bbox, set()
    for ax in figure.axes:
        numbers |= {id(text) for text in (*ax.get_xticklabels(which="both"), *ax.get_yticklabels(which="both"))}
    found = []
    for text in figure.findobj(Text):
        if id(text) in numbers or not (text.get_visible() and text.get_text().strip()):
            continue
        box = text.get_window_extent()
        if box.x0 < edge.x0 - 1 or box.x1 > edge.x1 + 1 or box.y0 < edge.y0 - 1 or box.y1 > edge.y1 + 1:
            found.append(text.get_text())
    return found
