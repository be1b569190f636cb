"""Reads an SVG as XML; prints its elements' names, their attributes' names, and the titles."""

import json
import sys
import xml.etree.ElementTree as tree

root = tree.fromstring(sys.stdin.buffer.read())
space = "{http://www.w3.org/2000/svg}"
elements = list(root.iter())
assert all(it.tag.startswith(space) for it in elements), "an element of another kind"
print(
    json.dumps(
        {
            "elements": sorted({it.tag.removeprefix(space) for it in elements}),
            "attributes": sorted({name for it in elements for name in it.attrib}),
            "titles": [it.text for it in root.iter(space + "title")],
        }
    )
)
