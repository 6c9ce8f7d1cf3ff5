"""Servers, drives, peers of protocols and oracles for the tests. No test is here."""
