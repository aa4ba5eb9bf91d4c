# A text file as a C string without its name: #include it behind `static const char x[] =` (meson.build).
s/\\/\\\\/g
s/"/\\"/g
s/.*/"&\\n"/
