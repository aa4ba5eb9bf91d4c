# A text file as the C string PRELUDE (meson.build).
s/\\/\\\\/g
s/"/\\"/g
s/.*/"&\\n"/
1i static const char PRELUDE[] =
$a ;
