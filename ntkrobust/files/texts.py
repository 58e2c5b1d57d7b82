"""Files of text that a user wrote."""

from __future__ import annotations

from pathlib import Path

from ntkrobust.errors import InputError
from ntkrobust.files.atomic import named


def text_of(path: Path, most_bytes: int) -> str:
    """The text of a file.

    Raises:
        InputError: there is none, it is no file (to read a pipe would wait for its other end), it has more bytes, or
            isn't UTF-8.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{named(path)} is not a file")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise InputError(f"{named(path)} must have at most {most_bytes} bytes")
        return content.decode("utf-8")
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"no such file: {named(path)}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{named(path)} is not UTF-8: {error}") from None
    except (OSError, ValueError) as error:  # of the latter kind is a null character in the path
        raise InputError(f"{named(path)} could not be read: {getattr(error, 'strerror', None) or error}") from None
