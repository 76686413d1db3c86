#!/usr/bin/env python3
"""check.py PAGE CHECK - check a page of hakctl report.

CHECK is the name of a function below without "check_". What is wrong is
printed, a line each, and the exit status is 1 then.
"""
import json
import re
import sys
from html.parser import HTMLParser

CONTROLS = "[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]"
VOID = {"meta", "link", "input", "br", "hr", "img"}


class Node:
    def __init__(self, tag, attrs, parent):
        self.tag, self.attrs, self.parent = tag, dict(attrs), parent
        self.children, self.text = [], ""

    def all(self, tag=None):
        for child in self.children:
            if tag is None or child.tag == tag:
                yield child
            yield from child.all(tag)

    def within(self, tag):
        node = self.parent
        while node and node.tag != tag:
            node = node.parent
        return node


class Tree(HTMLParser):
    """A tree that demands what HTML would forgive: each element is closed, in
    order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.root = self.node = Node("", (), None)
        self.wrong = []
        self.feed(text)
        self.close()
        if self.node is not self.root:
            self.wrong.append(f"<{self.node.tag}> is not closed")

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.wrong.append(f"<{tag}> has an attribute twice: {names}")
        node = Node(tag, attrs, self.node)
        self.node.children.append(node)
        if tag not in VOID:
            self.node = node

    def handle_startendtag(self, tag, attrs):
        self.node.children.append(Node(tag, attrs, self.node))

    def handle_endtag(self, tag):
        if tag != self.node.tag:
            self.wrong.append(f"</{tag}> in <{self.node.tag}>, line "
                              f"{self.getpos()[0]}")
        elif self.node.parent:
            self.node = self.node.parent

    def handle_data(self, data):
        node = self.node
        while node:
            node.text += data
            node = node.parent


class Page:
    def __init__(self, file):
        with open(file, encoding="utf-8") as f:
            self.text = f.read()
        self.tree = Tree(self.text)
        self.root = self.tree.root
        self.wrong = list(self.tree.wrong)
        data = [s for s in self.root.all("script") if s.attrs.get("id") == "data"]
        self.data = json.loads(data[0].text) if len(data) == 1 else {}

    def say(self, text):
        self.wrong.append(text)

    def at(self, path):
        value = self.data
        for key in path.split("/"):
            value = value[int(key)] if isinstance(value, list) else value[key]
        return value


def at(value, path):
    for key in path.split("/"):
        if isinstance(value, list):
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = value.get(key)
    return value


# ---- what the page is -------------------------------------------------------

def check_form(page):
    """Well-formed, with nothing that a content security policy would stop."""
    for found in re.findall("[\u202a-\u202e\u2066-\u2069]", page.text):
        page.say(f"U+{ord(found):04X} turns the direction of text")
    if not page.text.startswith("<!doctype html>\n<html lang="):
        page.say("no doctype or no language")
    policy = [m.attrs["content"] for m in page.root.all("meta")
              if m.attrs.get("http-equiv") == "Content-Security-Policy"]
    if len(policy) != 1 or not policy[0].startswith("default-src 'none'"):
        page.say(f"the policy is {policy}")
    nonce = re.findall(r"script-src 'nonce-(\w+)'", "".join(policy))
    ids = [n.attrs["id"] for n in page.root.all() if "id" in n.attrs]
    for name in {i for i in ids if ids.count(i) > 1}:
        page.say(f"id {name} twice")
    for node in page.root.all():
        for name in node.attrs:
            if name.startswith("on") or name in ("style", "srcdoc"):
                page.say(f"<{node.tag} {name}=...>")
        if node.tag in ("script", "style") and "id" not in node.attrs and \
                [node.attrs.get("nonce")] != nonce:
            page.say(f"<{node.tag}> without the nonce")
    scripts = len(list(page.root.all("script")))
    if scripts != 3:
        page.say(f"{scripts} scripts, not 3")


def check_alone(page):
    """No address of anything else."""
    text = re.sub(r"/\*.*?\*/|<!--.*?-->", "", page.text, flags=re.S)
    data = json.dumps(page.data)
    for found in re.finditer(r"(https?:|//[a-z0-9-]+\.[a-z])\S{0,40}", text):
        if found.group() not in data:
            page.say(f"address {found.group()}")
    for node in page.root.all():
        for name in ("src", "href", "action", "data", "poster"):
            target = node.attrs.get(name, "#")
            if not target.startswith("#") and target != "data:,":
                page.say(f"<{node.tag} {name}={target}>")


def check_access(page):
    """Landmarks, headings, captions, names."""
    for tag in ("main", "header", "footer", "nav", "h1", "title"):
        n = sum(not node.within("svg") for node in page.root.all(tag))
        if n != 1:
            page.say(f"{n} <{tag}>")
    level = 0
    for node in page.root.all():
        if re.fullmatch("h[1-6]", node.tag):
            if int(node.tag[1]) > level + 1:
                page.say(f"<{node.tag}> {node.text} after <h{level}>")
            level = int(node.tag[1])
    ids = {n.attrs.get("id") for n in page.root.all()}
    for node in page.root.all():
        name = node.attrs.get("aria-label") or node.attrs.get("aria-labelledby")
        if node.tag in ("section", "nav", "aside", "canvas") and not name:
            page.say(f"<{node.tag}> has no name")
        for key in ("aria-labelledby", "aria-describedby"):
            if node.attrs.get(key, None) not in (None, *ids):
                page.say(f"{key}={node.attrs[key]}: no such id")
        if node.tag == "a" and node.attrs["href"][1:] not in ids:
            page.say(f"link to {node.attrs['href']}")
        if node.tag == "canvas" and node.attrs.get("role") != "img":
            page.say("<canvas> has no role")
        if node.tag == "input" and not node.within("label"):
            page.say("<input> without <label>")
        if node.tag == "button" and node.attrs.get("type") != "button":
            page.say("<button> without type")
        if node.tag == "svg" and "aria-hidden" not in node.attrs and \
                not (node.attrs.get("role") == "img" and name):
            page.say("<svg> has no name")
    for table in page.root.all("table"):
        caption = list(table.all("caption"))
        if len(caption) != 1 or not caption[0].text.strip():
            page.say("table without a caption")
        for th in table.all("th"):
            if "scope" not in th.attrs:
                page.say(f"<th> {th.text} without scope")


# ---- its figures ------------------------------------------------------------

def figure(page, cell, value, where):
    """Compare a cell with a value of the JSON."""
    data = list(cell.all("data"))
    if isinstance(value, (int, float)):
        if len(data) != 1 or abs(float(data[0].attrs["value"]) - value) > 1e-4:
            page.say(f"{where}: {[d.attrs for d in data]} is not {value}")
    elif value is None:
        if data or cell.text.strip() != "\u2013":
            page.say(f"{where}: {cell.text!r} is not a dash")
    elif cell.text.strip() != re.sub(CONTROLS, "\ufffd",
                                     value).strip():
        page.say(f"{where}: {cell.text!r} is not {value!r}")


def check_figures(page):
    """Each table has the rows and figures of the JSON that it names."""
    for table in page.root.all("table"):
        of = table.attrs["data-of"]
        keys = [th.attrs["data-key"] for th in table.all("th")
                if "data-key" in th.attrs]
        body = next(table.all("tbody"))
        rows = [r for r in body.children if r.tag == "tr"]
        values = page.at(of)
        if len(rows) != len(values) or not keys:
            page.say(f"{of}: {len(rows)} rows, {len(values)} in the JSON")
        for i, (row, value) in enumerate(zip(rows, values)):
            for key, cell in zip(keys, row.children):
                figure(page, cell, at(value, key), f"{of}/{i}/{key}")
    for article in page.root.all("article"):
        value = page.at(article.attrs["data-of"])
        for node in article.all():
            if "data-key" in node.attrs:
                figure(page, node, value[node.attrs["data-key"]], "advice")
    tiles = [n for n in page.root.all("div") if n.attrs.get("class") == "tile"]
    for tile, value in zip(tiles, page.data.get("summary", []), strict=True):
        figure(page, next(tile.all("dd")), value["value"], value["label"])


def check_stacks(page):
    """The list of stacks has the bytes of the tree, in its order."""
    lists = [n for n in page.root.all("ul") if n.attrs.get("class") == "tree"]
    got = [int(d.attrs["value"]) for d in lists[0].all("data")]

    def walk(node):
        yield from node[1:5]
        for child in node[5]:
            if sum(child[1:5]) > sum(node[1:5]):
                page.say(f"{child[:5]} is more than its caller {node[:5]}")
            yield from walk(child)
    if got != list(walk(page.data["profile"]["tree"])):
        page.say("the list is not the tree")


def check_sums(page):
    """The parts of a moment are the whole, and shares are shares."""
    for moment in page.data["moments"]:
        for key, whole in (("memory", moment["rss"]),
                           ("mapped", moment["mapped"])):
            rest = [p[key] or 0 for p in moment["parts"] if p["cause"] != "sum"]
            if whole is not None and sum(rest) != whole:
                page.say(f"{moment['key']}: {key} {sum(rest)}, not {whole}")
            if min(rest) < 0:
                page.say(f"{moment['key']}: {key} below 0")


# ---- its colours ------------------------------------------------------------

def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= .04045 else ((c + .055) / 1.055) ** 2.4
              for c in parts]
    return .2126 * linear[0] + .7152 * linear[1] + .0722 * linear[2]


def contrast(one, other):
    a, b = sorted((luminance(one), luminance(other)), reverse=True)
    return (a + .05) / (b + .05)


def check_contrast(page):
    """Text on all that it stands on: 4.5 at least, in light and dark."""
    style = next(page.root.all("style")).text
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6});", block))
                   for block in re.findall(r":root \{(.*?)\}", style, re.S))
    grounds = ["page", "card", "shade", "hit",
               *(f"heat-{i}" for i in range(1, 6)),
               *(f"frame-{i}" for i in range(4))]
    pairs = [("text", g) for g in grounds]
    pairs += [("quiet", g) for g in ("page", "card", "shade")]
    pairs += [("strong", "card"), ("strong", "page")]
    for name, colours in (("light", light), ("dark", {**light, **dark})):
        for text, ground in pairs:
            ratio = contrast(colours[text], colours[ground])
            if ratio < 4.5:
                page.say(f"{name}: {text} on {ground}: {ratio:.2f}")


# ---- its advice -------------------------------------------------------------

def merge(base, lines):
    """The INI `base` with each section and key of `lines`, in place of its
    own, and without its profiles, which say other things of routes."""
    out, section = {}, ""
    for line in base.splitlines() + lines.splitlines():
        line = re.sub(r"\s*;.*", "", line).strip()
        if line.startswith("["):
            section = line
            out.setdefault(section, {})
        elif "=" in line:
            key, value = (word.strip() for word in line.split("=", 1))
            out[section][key] = value
    return "".join(f"{name}\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
                   for name, keys in out.items()
                   if not name.startswith("[profile"))


def print_advice(page, base):
    """Print the INI with each piece of advice, and then with all of it, as
    texts with a 0 behind each."""
    with open(base, encoding="utf-8") as f:
        ini = f.read()
    pieces = [a["ini"] for a in page.data["advice"] if a["ini"]]
    for piece in [*pieces, "".join(pieces)]:
        sys.stdout.write(merge(ini, piece) + "\0")


def main():
    page = Page(sys.argv[1])
    if sys.argv[2] == "advice":
        print_advice(page, sys.argv[3])
    else:
        globals()["check_" + sys.argv[2]](page)
    print("\n".join(page.wrong[:20]))
    return 1 if page.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
