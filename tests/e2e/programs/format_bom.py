# Begins with a byte order mark.
print("bom", __doc__)
