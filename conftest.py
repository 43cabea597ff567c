"""Registers the suite's plugins; everything they do is in fixtures/plugins/."""

from __future__ import annotations

pytest_plugins = [
    "fixtures.plugins.options",
    "fixtures.plugins.storage",
    "fixtures.plugins.variants",
    "fixtures.plugins.parallel",
    "fixtures.plugins.hardware",
    "fixtures.plugins.planting",
    "fixtures.plugins.measuring",
    "fixtures.plugins.scoring",
    "fixtures.plugins.baseline",
    "fixtures.plugins.accepting",
    "fixtures.plugins.calibrating",
    "fixtures.plugins.portable",
    "fixtures.plugins.judging",
    "fixtures.plugins.recording",
    "fixtures.plugins.reasons",
    "fixtures.plugins.standing",
    "fixtures.plugins.merging",
    "fixtures.plugins.progress",
    "fixtures.plugins.quieting",
    "fixtures.plugins.summary",
    "fixtures.plugins.reporting",
]
