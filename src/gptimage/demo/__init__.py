"""The demo: every kind of call once, with real files to look at."""
