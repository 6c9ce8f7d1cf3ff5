"""Running code on foreign bytes in a process that may be killed: kernel limits, the server that forks, the client."""
