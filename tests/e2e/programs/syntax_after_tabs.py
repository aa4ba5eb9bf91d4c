def f(x):
	for a in x:
		print(a b)
