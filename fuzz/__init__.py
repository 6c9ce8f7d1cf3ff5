"""Fuzzing of the decoders: seeds by the formats' own writers, damage by script, targets for atheris."""
