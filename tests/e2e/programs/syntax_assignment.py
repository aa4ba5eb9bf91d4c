if True:
    1 + x = 5
