"""The documents of this project, held against the program."""
