"""Turn error statistics into a diagnosis: evidence, knowledge, answer. Pure; the outside world comes in through `ports`."""
