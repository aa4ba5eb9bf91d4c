class Odd(Exception):
    def __str__(self):
        raise ValueError("no text for you")


class NotText(Exception):
    __module__ = "some.where"

    def __str__(self):
        return 5


class Quiet(Exception):
    def __str__(self):
        return ""


for kind in (NotText, Quiet):
    try:
        raise kind("x")
    except kind:
        import traceback
        traceback.print_exc()
raise Odd("x")
