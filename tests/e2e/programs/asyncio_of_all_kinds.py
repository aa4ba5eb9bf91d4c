import asyncio
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

CODE = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)\nsys.exit(3)"


def square(n):
    return n * n


async def talk(n):
    """A subprocess that is written to and read from, line by line."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CODE, stdin=-1, stdout=-1)
    for i in range(3):
        child.stdin.write(f"line {n}.{i}\n".encode())
        await child.stdin.drain()
        assert await child.stdout.readline() == f"LINE {n}.{i}\n".encode()
    child.stdin.close()
    return await child.wait()


async def pipes():
    loop = asyncio.get_running_loop()
    reader, writer = os.pipe()
    stream = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reader, "rb"))
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writer, "wb"))
    data = bytes(range(256)) * 4096
    transport.write(data)  # more than a pipe holds
    transport.close()
    return await stream.read() == data


async def sockets(n):
    left, right = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=left)
    echo, back = await asyncio.open_connection(sock=right)
    for i in range(20):
        writer.write(f"{n} {i}\n".encode())
        back.write(await echo.readline())
        assert await reader.readline() == f"{n} {i}\n".encode()
    writer.close()
    back.close()
    return n


async def signals():
    loop = asyncio.get_running_loop()
    got = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, got.set)
    threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    await asyncio.wait_for(got.wait(), 10)
    return loop.remove_signal_handler(signal.SIGUSR1)


async def main():
    loop = asyncio.get_running_loop()
    print(await asyncio.gather(*(talk(n) for n in range(3))), await pipes(), await signals())
    print(sum(await asyncio.gather(*(sockets(n) for n in range(30)))))
    print(sum(await asyncio.gather(*(asyncio.sleep(i % 7 / 1000, i) for i in range(2000)))))
    with ThreadPoolExecutor(4) as threads:
        print(await asyncio.gather(*(loop.run_in_executor(threads, square, i) for i in range(10))))
    with ProcessPoolExecutor(2) as processes:
        print(await asyncio.gather(*(loop.run_in_executor(processes, square, i) for i in range(10))))
    done = loop.create_future()
    threading.Timer(0.01, loop.call_soon_threadsafe, (done.set_result, "woken by a thread")).start()
    print(await done)


asyncio.run(main())
