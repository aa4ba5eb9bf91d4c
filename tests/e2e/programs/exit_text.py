import sys
sys.exit("error: no input files")
