import asyncio
import socket


async def main():
    loop = asyncio.get_running_loop()
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    await loop.sock_sendall(one, b"hello")
    print(await loop.sock_recv(other, 100))
    print(await asyncio.to_thread(sum, range(10)))


asyncio.run(main())
