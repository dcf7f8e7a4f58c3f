"""Runs the scheduler: `python -m services.scheduler`."""

from services.scheduler.main import main

raise SystemExit(main())
