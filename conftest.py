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
    "fixtures.plugins.adapting",
    "fixtures.plugins.baseline",
    "fixtures.plugins.accepting",
    "fixtures.plugins.calibrating",
    "fixtures.plugins.portable",
    "fixtures.plugins.profiling",
    "fixtures.plugins.judging",
    "fixtures.plugins.cells",
    "fixtures.plugins.training",
    "fixtures.plugins.from_scratch",
    "fixtures.plugins.splitting",
    "fixtures.plugins.recording",
    "fixtures.plugins.data_parallel",
    "fixtures.plugins.reasons",
    "fixtures.plugins.standing",
    "fixtures.plugins.merging",
    "fixtures.plugins.progress",
    "fixtures.plugins.quieting",
    "fixtures.plugins.summary",
    "fixtures.plugins.reporting",
]
