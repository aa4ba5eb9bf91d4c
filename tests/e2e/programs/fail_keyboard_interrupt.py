import atexit

atexit.register(print, "atexit ran")
print("about to interrupt")
try:
    raise KeyboardInterrupt
finally:
    print("finally ran")
