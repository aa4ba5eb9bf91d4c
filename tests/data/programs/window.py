# packages: python3-tk
# error: _tkinter.TclError: no display name and no $DISPLAY environment variable
# Tcl is whole; only a display is missing.
import tkinter

print(tkinter.Tcl().eval("expr 6 * 7"))
tkinter.Tk()
