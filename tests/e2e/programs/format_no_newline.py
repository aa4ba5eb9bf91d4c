def f():
    return 1
print(f())
if True:
    print("no newline at the end")