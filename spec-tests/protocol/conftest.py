"""Helpers that assert explain themselves as tests do."""

import pytest

pytest.register_assert_rewrite("protocol.ways", "protocol.test_reference", "fuzz")
