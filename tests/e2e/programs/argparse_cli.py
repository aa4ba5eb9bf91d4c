import argparse
import sys

print(sys.argv)
parser = argparse.ArgumentParser(description="Convert things.")
parser.add_argument("files", nargs="*", default=["-"])
parser.add_argument("-n", "--number", type=int, default=3, metavar="N", help="how many (default: %(default)s)")
parser.add_argument("--mode", choices=["fast", "safe"], default="safe")
commands = parser.add_mutually_exclusive_group()
commands.add_argument("-v", action="count", default=0)
commands.add_argument("-q", action="store_true")
print(parser.parse_args())
print(parser.parse_args(["-vv", "--mode=fast", "-n7", "a", "b"]))
parser.print_help()
parser.parse_args(["--mode", "wild"])
