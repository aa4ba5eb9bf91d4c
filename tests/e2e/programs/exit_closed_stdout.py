import sys
print("then closed")
sys.stdout.flush()
sys.stdout.close()
