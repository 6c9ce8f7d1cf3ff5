"""Measurements that people run by hand; each prints figures and ratios of one run, with the machine."""
