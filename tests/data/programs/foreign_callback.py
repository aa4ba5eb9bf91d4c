# packages: python3-cffi
# error: MemoryError: Cannot allocate write+execute memory for ffi.callback()
import cffi

ffi = cffi.FFI()
plus = ffi.callback("int(int)", lambda x: x + 1)
return plus(1)
