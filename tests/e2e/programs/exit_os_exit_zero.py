import os
print("half-way", flush=True)
os._exit(0)
print("never")
