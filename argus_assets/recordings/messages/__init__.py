"""Decoding of messages inside of recordings: CDR, ROS message definitions, typed columns of topics."""
