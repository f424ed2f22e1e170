"""Runs the command as ``python -m fiftyone_resclip``."""

from fiftyone_resclip.cli import main

raise SystemExit(main())
