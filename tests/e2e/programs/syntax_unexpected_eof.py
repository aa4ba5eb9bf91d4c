# stderr differs: the end of a file has no column, the end of a text has one
def f():
