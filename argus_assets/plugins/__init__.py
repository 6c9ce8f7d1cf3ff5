"""Running code of other packages and programs in isolation, for decoders and detectors alike."""
