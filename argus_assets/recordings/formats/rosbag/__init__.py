"""Bags of ROS 1 (`.bag`) and of ROS 2 (`.db3`), read by what reads MCAP: their messages become its records."""
