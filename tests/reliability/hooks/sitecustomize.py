"""For the platform under test: on SIGUSR1 a process computes in C for ever and never lets go of the interpreter's lock.

It stands for any code in C that does, such as `9**9**9**9`. No other thread runs, and no signal handler of Python's.
"""

import itertools
import signal

signal.signal(signal.SIGUSR1, lambda *_: sum(itertools.repeat(0)))
