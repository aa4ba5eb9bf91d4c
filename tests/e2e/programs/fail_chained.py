class ConfigError(Exception):
    pass


def parse(text):
    try:
        return {"a": 1}[text]
    except KeyError as error:
        raise ConfigError(f"no setting {text!r}") from error


def load():
    try:
        parse("b")
    except ConfigError:
        1 / 0


try:
    load()
except ZeroDivisionError as error:
    error.add_note("while loading\nsecond line of the note")
    try:
        raise ValueError("hidden") from None
    except ValueError as inner:
        raise RuntimeError("outermost", 3)
