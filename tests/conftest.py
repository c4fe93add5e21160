"""What all tests share. The mends to nbval are a plug-in, nbval_shims.py, since notebooks/ lies outside this folder."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser last: it says little where a quicker test has failed already."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
