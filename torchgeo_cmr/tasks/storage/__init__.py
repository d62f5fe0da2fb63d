"""A task in a file or a folder, read and written without running code of it."""
