print(1)
x = 5 \
    + 6
print(x)
\

print("after a continued empty line")
