import asyncio
import contextvars
from asyncio import Queue, TaskGroup

request = contextvars.ContextVar("request", default="-")


async def producer(queue, n):
    for i in range(n):
        await queue.put(i)
        await asyncio.sleep(0)
    await queue.put(None)


async def consumer(queue):
    got = []
    while (item := await queue.get()) is not None:
        got.append(item)
    return got


async def ticker():
    for i in range(3):
        yield i
        await asyncio.sleep(0)


async def child():
    process = await asyncio.create_subprocess_exec("/bin/echo", "from a child", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out, process.returncode


async def main():
    queue = Queue(maxsize=2)
    async with TaskGroup() as group:
        group.create_task(producer(queue, 5))
        result = group.create_task(consumer(queue))
    print("got", result.result())
    print([i async for i in ticker()])
    try:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
    except TimeoutError:
        print("timed out")
    print(await asyncio.gather(asyncio.sleep(0, 1), asyncio.to_thread(sum, [1, 2]), return_exceptions=True))
    print(await child())
    request.set("r1")
    print(request.get(), asyncio.current_task().get_name().startswith("Task-"))


asyncio.run(main())
print(request.get())
