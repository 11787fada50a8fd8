"""Assertions of the modules beside the tests tell what differs, as those of tests do."""

import pytest

pytest.register_assert_rewrite(*(f"tests.both_sides.{name}" for name in ("front", "life", "senders", "upkeep")))
