"""What every test relies on: a clean environment, and property tests that do not measure time."""

from __future__ import annotations

import os

from hypothesis import settings

pytest_plugins = ["tests.databases", "tests.middle", "tests.pages"]

OURS = ("SLACK_", "SLACKBOT_", "NOXUS_", "DATABASE_URL", "LOG_")
FOR_TESTS = ("SLACKBOT_SDK_PYTHON", "SLACKBOT_REQUIRE_CHROMIUM", "SLACKBOT_CHAOS")

settings.register_profile("slackbot", deadline=None, print_blob=True)
settings.load_profile("slackbot")


def pytest_configure() -> None:
    """Forget the settings of whoever runs the tests, and reach the simulators without their proxy."""
    for name in [name for name in os.environ if name.startswith(OURS) and name not in FOR_TESTS]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
