"""Registers the suite's plugins; everything they do is in fixtures/plugins/."""

from __future__ import annotations

pytest_plugins = [
    "fixtures.plugins.options",
    "fixtures.plugins.storage",
    "fixtures.plugins.variants",
    "fixtures.plugins.parallel",
    "fixtures.plugins.hardware",
    "fixtures.plugins.measuring",
    "fixtures.plugins.scoring",
    "fixtures.plugins.planting",
    "fixtures.plugins.baseline",
    "fixtures.plugins.judging",
    "fixtures.plugins.recording",
    "fixtures.plugins.summary",
]
