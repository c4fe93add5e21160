"""What all tests share. The mends to nbval are a plug-in, nbval_shims.py, since notebooks/ lies outside this folder."""

import IPython.display
import ipywidgets
import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The browser last: it says little where a quicker test has failed already. Beside others it comes in its turn."""
    if not hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


class Displayed:
    """What was displayed, and the handles that came back with what they were updated to."""

    def __init__(self):
        self.plain, self.handles = [], []

    def display(self, thing, display_id=None):
        if display_id is None:
            self.plain.append(thing)
            return None
        handle = type("Handle", (), {"shown": [thing], "update": lambda self, thing: self.shown.append(thing)})()
        self.handles.append(handle)
        return handle

    def controls(self):
        """The controls of the one box on the page, by their description; those that share a row in their order."""
        (box,) = self.plain
        assert isinstance(box, ipywidgets.VBox)
        rows = [child.children if isinstance(child, ipywidgets.HBox) else [child] for child in box.children]
        return {control.description: control for row in rows for control in row}


@pytest.fixture
def page(monkeypatch):
    """What a widget puts on the page, outside a notebook."""
    page = Displayed()
    monkeypatch.setattr(IPython.display, "display", page.display)
    return page
