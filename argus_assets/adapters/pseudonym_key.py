"""The key of pseudonyms, made once and kept in the home."""

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from argus_assets.common.atomic_file import atomic_file
from argus_assets.errors import BadSetting

FILE: Final = "pseudonym.key"
KEY_BYTES: Final = 32


def load_or_make_key(home: Path) -> bytes:
    """Return the key of a home; make it when there is none yet. Processes that ask at the same time get the same.

    Raises:
        BadSetting: The file exists and holds no key, or the home cannot be written.
    """
    path = home / FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Never over another's.
            with suppress(FileExistsError), atomic_file(path, replace=False, mode=0o600) as file:
                file.write(secrets.token_hex(KEY_BYTES).encode())
        key = bytes.fromhex(path.read_text().strip())
    except ValueError as error:
        raise BadSetting(f"{path} holds no key.", help="Restore the old file, or set ARGUS_PSEUDONYM_KEY.") from error
    except OSError as error:
        raise BadSetting(
            f"The key of pseudonyms cannot be kept in {path}: {error}.", help="Set ARGUS_PSEUDONYM_KEY."
        ) from error
    if len(key) < KEY_BYTES // 2:
        raise BadSetting(f"{path} holds a key of {len(key)} bytes.", help="Restore the old file, or delete it.")
    return key
