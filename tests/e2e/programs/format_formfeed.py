print("page one")

def f():
    return 2

print(f())
    
print("end")
