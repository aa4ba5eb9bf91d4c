import email
import email.policy
import xml.etree.ElementTree as ET
from email.message import EmailMessage
from html.parser import HTMLParser
from xml.dom import minidom
from xml.sax.saxutils import escape

root = ET.fromstring("<shop><item id='1'>Tea</item><item id='2' price='3.5'>Coffee &amp; more</item></shop>")
print([(i.get("id"), i.text, i.attrib) for i in root.iter("item")], root.find("item[@id='2']").text)
ET.SubElement(root, "item", id="3").text = "<raw>"
ET.indent(root)
print(ET.tostring(root, encoding="unicode"))
print(minidom.parseString("<a><b/></a>").toprettyxml(indent=" "), escape("a<b"))
try:
    ET.fromstring("<a><b></a>")
except ET.ParseError as error:
    print(error)


class Links(HTMLParser):
    found = []

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.found.append(dict(attrs).get("href"))


Links().feed("<p>see <a href='/x?a=1&amp;b=2'>x</a><A HREF=y>y</A>")
print(Links.found)
message = EmailMessage(policy=email.policy.SMTP)
message["Subject"], message["From"], message["To"] = "Grüße", "a@example.org", "B <b@example.org>"
message.set_content("Hallo\n")
message.add_attachment(b"\x00\x01", maintype="application", subtype="octet-stream", filename="x.bin")
parsed = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
print(parsed["subject"], [p.get_content_type() for p in parsed.walk()], parsed.get_body().get_content().strip())
print([a.get_filename() for a in parsed.iter_attachments()], parsed["to"].addresses[0].addr_spec)
