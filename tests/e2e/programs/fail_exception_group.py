import asyncio


async def bad(n):
    await asyncio.sleep(0)
    raise ValueError(f"task {n}")


def nested():
    try:
        raise TypeError("t")
    except TypeError as error:
        return ExceptionGroup("inner", [error, OSError(2, "No such file", "x.txt")])


async def main():
    results = await asyncio.gather(bad(1), bad(2), return_exceptions=True)
    raise ExceptionGroup("several", [*results, nested()])


asyncio.run(main())
