exec(compile("def f():\n    return 1 / 0\n", "generated", "exec"))
print(f.__code__.co_filename)
exec("f()")
