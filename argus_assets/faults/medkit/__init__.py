"""Faults that a fault manager of ROS 2 publishes: `ros2_medkit_msgs`."""
