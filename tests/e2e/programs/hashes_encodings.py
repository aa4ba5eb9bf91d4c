import base64
import binascii
import hashlib
import hmac
import html
import secrets
import urllib.parse
import uuid
import zlib

for name in ("md5", "sha1", "sha256", "sha3_256", "blake2b"):
    print(name, hashlib.new(name, b"abc").hexdigest()[:32])
print(hmac.new(b"k", b"m", "sha256").hexdigest(), hmac.compare_digest("a", "a"))
print(hashlib.pbkdf2_hmac("sha256", b"pw", b"salt", 1000).hex())
print(base64.b64encode(b"\xff\xfe\x00"), base64.urlsafe_b64encode(b"\xff\xfe"), base64.b32encode(b"hi"))
print(base64.a85encode(b"hello"), binascii.hexlify(b"\x01\x02", "-"), zlib.crc32(b"x"))
print(uuid.uuid5(uuid.NAMESPACE_DNS, "example.org"), uuid.UUID(int=5), uuid.uuid4().version)
u = urllib.parse.urlsplit("https://user@example.org:8080/a%20b/?q=1&q=zwei&r=#frag")
print(u.hostname, u.port, u.path, urllib.parse.parse_qs(u.query, keep_blank_values=True))
print(urllib.parse.urlencode({"a": "b c", "ü": [1, 2]}, doseq=True), urllib.parse.quote("/ä?"))
print(urllib.parse.urljoin("http://h/a/b", "../c"), html.escape("<a href='x'>"), html.unescape("&eacute;&#x41;"))
print(len(secrets.token_hex(8)), secrets.randbelow(1), "naïve".encode("utf-16-le"), "ß".encode("idna"))
try:
    base64.b64decode("abc", validate=True)
except binascii.Error as error:
    print(error)
