import sys


class Out:
    def write(self, text):
        return len(text)

    def flush(self):
        raise OSError("cannot flush")


sys.stdout = Out()
print("lost")
