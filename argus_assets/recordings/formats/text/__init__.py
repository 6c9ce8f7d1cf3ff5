"""Text logs of CAN buses: a module for each format, over one reader of lines."""
