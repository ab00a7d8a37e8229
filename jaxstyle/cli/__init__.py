"""The command line: side effects live here."""
