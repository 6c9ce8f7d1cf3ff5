"""Servers, drives, peers of protocols and oracles for the tests. No test is here."""

import pytest

pytest.register_assert_rewrite("tests.support.bucket_contract")
