"""The commands of the command line: side effects live here."""
