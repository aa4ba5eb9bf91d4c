"""Numbers.

>>> triple(2)
6
"""


def triple(n):
    """
    >>> triple(3)
    9
    >>> triple("ab")
    'ababab'
    >>> triple(None)
    Traceback (most recent call last):
    ...
    TypeError: unsupported operand type(s) for *: 'NoneType' and 'int'
    >>> triple(1)
    4
    """
    return n * 3


if __name__ == "__main__":
    import doctest
    print(doctest.testmod())
