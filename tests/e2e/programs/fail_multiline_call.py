def combine(first, second):
    return first.upper() + second.upper()


result = combine(
    "a",
    second=dict(
        value=3,
    ),
)
