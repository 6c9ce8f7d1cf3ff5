"""The one exception tree.

    ArgusError
    ├── PermanentError        trying again cannot help; a person or new input must
    │   ├── BadManifest       the completion manifest cannot be used
    │   ├── BadFile           a dropped file is missing or is not what the manifest says
    │   ├── BadRecording      nothing can be read from a recording
    │   ├── BadTable          a table does not have its declared columns
    │   ├── BadSetting        a setting is missing or wrong
    │   └── AccessDenied      the credentials do not allow it
    └── TransientError        the same attempt may succeed later
        └── Unavailable       storage, database or another service did not answer

Every message says what was attempted, what was found and what helps.
"""


class ArgusError(Exception):
    """Base of all errors that Argus raises on purpose.

    Args:
        what: What was attempted and what went wrong, with the place.
        help: What a person can do about it.
    """

    def __init__(self, what: str, *, help: str = "") -> None:  # noqa: A002 - the word users read
        self.what = what
        self.help = help
        super().__init__(f"{what} {help}".strip())


class PermanentError(ArgusError):
    """Trying again with the same input fails the same way."""


class BadManifest(PermanentError):
    """The completion manifest cannot be used."""


class BadFile(PermanentError):
    """A dropped file is missing, or is not what the manifest says."""


class BadRecording(PermanentError):
    """Nothing can be read from a recording."""


class BadTable(PermanentError):
    """A table does not have the columns that are declared for it."""


class BadSetting(PermanentError):
    """A setting is missing or has a value that cannot be used."""


class AccessDenied(PermanentError):
    """The credentials do not allow what was attempted."""


class TransientError(ArgusError):
    """The same attempt may succeed later."""


class Unavailable(TransientError):
    """Storage, the database or another service did not answer."""
