if True:
	print("tabs")
	if True:
		print("deeper")
for i in range(2):
 print(i)
