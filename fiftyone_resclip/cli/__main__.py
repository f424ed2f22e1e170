"""Runs the command as ``python -m fiftyone_resclip.cli``."""

from fiftyone_resclip.cli import main

raise SystemExit(main())
