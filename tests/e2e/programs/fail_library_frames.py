import json
import re

try:
    re.compile("(unclosed")
except re.error as error:
    print(error, error.pos)
json.loads('{"a": [1, 2,}')
