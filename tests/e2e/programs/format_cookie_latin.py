# vim: set fileencoding=latin-1 :
print("only ascii", chr(233))
