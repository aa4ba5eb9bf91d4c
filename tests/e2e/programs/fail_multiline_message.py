raise ValueError("first line\n  second line\n\n    last line")
