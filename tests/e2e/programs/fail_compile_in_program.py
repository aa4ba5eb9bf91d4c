code = "x = 1\nif x\n    print(x)\n"
try:
    exec(code)
except SyntaxError as error:
    print(error.filename, error.lineno, error.offset, error.text)
eval("1 +")
