"""Translate storage-client exceptions into permanent or transient Argus errors."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from argus_assets.errors import AccessDenied, ArgusError, PermanentError, Unavailable

_CLIENT_PACKAGES: Final = frozenset({"botocore", "aiobotocore", "aiohttp", "boto3", "s3fs"})


@contextmanager
def storage_errors(verb: str, where: str, *, missing: type[PermanentError], missing_help: str) -> Generator[None]:
    """Translate what a file system raises in the block.

    Args:
        verb: What is done, such as `read`.
        where: The file or object.
        missing: Raised when it does not exist.
        missing_help: What to do then.

    Raises:
        PermanentError: It does not exist (`missing`), or access is denied (`AccessDenied`).
        Unavailable: The storage did not answer or failed; it may succeed later.
    """
    try:
        yield
    except ArgusError:
        raise
    except FileNotFoundError as error:
        raise missing(f"Could not {verb} {where}: it is not there.", help=missing_help) from error
    except PermissionError as error:
        raise AccessDenied(
            f"Could not {verb} {where}: access denied ({error}).", help="Check the credentials and the bucket's policy."
        ) from error
    except OSError as error:
        raise Unavailable(f"Could not {verb} {where}: {error}", help="Check that the storage answers.") from error
    except Exception as error:
        # The client libraries' own errors (no endpoint, no credentials, cut connections) are not OSErrors.
        if type(error).__module__.partition(".")[0] not in _CLIENT_PACKAGES:
            raise
        raise Unavailable(
            f"Could not {verb} {where}: {error}", help="Check the endpoint and the credentials."
        ) from error
