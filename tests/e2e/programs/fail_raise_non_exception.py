def check(value):
    raise "a string"


try:
    check(1)
except TypeError as error:
    print(error)
raise NotImplementedError
