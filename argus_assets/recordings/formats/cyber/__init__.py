"""Records of Apollo Cyber RT."""
