#!/usr/bin/env python3
"""bench/report.py [PICTURE] - make docs/report.png: the page of hakctl report
about this script itself, as chromium draws it.

With the argument --work it is the program that the page is about: it reads
records, keeps an index of some and frees the rest, in rounds. Meanwhile keys and
routes of it are changed, so that the page has events.
"""
import json
import os
import random
import subprocess
import sys
import tempfile
import time

HAKCTL = "build/hakctl"


def make_records(n):
    return [{"id": i, "name": f"user{i}",
             "tags": ["x" * random.randint(1, 600) for _ in range(3)]}
            for i in range(n)]


def serve_round(kept):
    records = make_records(12000)
    blobs = [bytearray(random.randint(20000, 500000)) for _ in range(80)]
    replies = [json.dumps(r) for r in records]
    kept.append({r["name"]: r for r in records[::9]})
    return len(blobs) + len(replies)


def work():
    random.seed(7)
    kept = []
    for i in range(24):
        serve_round(kept)
        if i == 15:
            del kept[:10]
        time.sleep(.25)
    time.sleep(1)


def ask(*words):
    subprocess.run([HAKCTL, *words], check=True, stdout=subprocess.DEVNULL)


def run(page):
    """Run the work, with changes at three moments."""
    env = {**os.environ, "PYTHONMALLOC": "malloc"}
    python = os.path.realpath("/usr/bin/python3")
    process = subprocess.Popen([HAKCTL, "run", "--control", f"--report={page}",
                                "--", python, os.path.relpath(__file__), "--work"],
                               env=env)
    name = os.path.basename(python)
    for words in (["route", name, "257-1024", "MID_V35"],
                  ["set", name, "purge_delay_ms=20"], ["trim", name]):
        time.sleep(4)
        ask(*words)
    return process.wait()


# The picture leaves out what is long: tables, lists and texts.
PICTURE_STYLE = """
#advice, #classes, #sites, footer, nav, details, .hint, .zoom, section > p,
#time > h3, #time > .scroll, .notes, .moment caption { display: none !important }
.graph { max-height: 27rem !important; overflow: hidden !important }
body { font-size: 17px } section, .tiles { margin: .75rem 0 }
</style>"""


def draw(page, picture):
    # Only here, as the work is to be without them.
    from PIL import Image, ImageChops
    with open(page, encoding="utf-8") as f:
        text = f.read().replace("</style>", PICTURE_STYLE, 1)
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/page.html", "w", encoding="utf-8") as f:
            f.write(text)
        subprocess.run(["chromium", "--headless=new", "--no-sandbox",
                        "--disable-gpu", "--hide-scrollbars",
                        f"--user-data-dir={folder}/chromium",
                        "--virtual-time-budget=3000", "--window-size=1240,2100",
                        f"--screenshot={folder}/page.png",
                        f"file://{folder}/page.html"],
                       check=True, stderr=subprocess.DEVNULL)
        image = Image.open(folder + "/page.png").convert("RGB")
    # Below the last section the page is of one colour.
    ground = Image.new("RGB", image.size, image.getpixel((5, image.height - 1)))
    bottom = ImageChops.difference(image, ground).getbbox()[3]
    image = image.crop((0, 0, image.width, min(bottom + 24, image.height)))
    image.quantize(200).save(picture, optimize=True)


def main():
    picture = sys.argv[1] if len(sys.argv) > 1 else "docs/report.png"
    with tempfile.TemporaryDirectory() as folder:
        page = folder + "/report.html"
        run(page)
        draw(page, picture)


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        work()
    else:
        main()
