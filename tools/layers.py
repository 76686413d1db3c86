#!/usr/bin/env python3
"""layers.py - checks that the folders of framework/ depend on each other as
README draws them.

usage: layers.py [--root FOLDER] [--objects FOLDER] [--count]

Three rules, and exit status 1 with a line for each edge that breaks one:

    includes   a file includes only headers of its own folder and of folders
               above it in ORDER; a module includes nothing of core/,
               report/ and start/
    symbols    the calls between objects (nm) form no cycle of folders, so that
               a folder can be understood, and linked, with the folders above
               it alone
    malloc     no object calls the malloc family, which belongs to the program

--count prints the lines of each folder that are neither blank nor comment.
"""
import argparse
import pathlib
import re
import subprocess
import sys

# From the top down: a folder includes only what stands above it.
ORDER = ["include", "kit", "base", "conf", "core/state", "core/memory",
         "core/route", "core/thread", "core/box", "core/malloc", "report",
         "start", "modules"]
# The malloc family. OWN are objects of libraries of their own, which may call
# it.
FAMILY = {"malloc", "calloc", "realloc", "free", "memalign", "aligned_alloc",
          "posix_memalign", "strdup", "strndup", "asprintf", "vasprintf"}
OWN = {"cxx.o", "match.o"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*', re.S)


def layer_of(path):
    """The folder of ORDER that a path below framework/ lies in, or None."""
    text = path.as_posix()
    found = [name for name in ORDER if text.startswith(name + "/")]
    return max(found, key=len) if found else None


def target_of(root, source, quote, name):
    """The file below root that an include names, or None: a system header."""
    tries = [source.parent / name] if quote == '"' else []
    tries += [pathlib.Path(name), pathlib.Path("include") / name]
    for path in tries:
        if (root / path).is_file():
            return path
    return None


def sources(root):
    for path in sorted(root.rglob("*.[ch]")):
        path = path.relative_to(root)
        if layer_of(path) is not None:
            yield path


def upward_includes(root):
    for source in sources(root):
        for quote, name in INCLUDE.findall((root / source).read_text()):
            target = target_of(root, source, quote, name)
            if target is None:
                continue
            here, there = layer_of(source), layer_of(target)
            if there is None:
                yield f"{source} includes {target}, which is in no folder of " \
                      f"ORDER (tools/layers.py)"
            elif len(source.parts) > 2 and here == "modules" and \
                    there.startswith(("core/", "report", "start")):
                yield f"{source} includes {target}: a module knows the core " \
                      f"by hakmem/module.h alone"
            elif ORDER.index(there) > ORDER.index(here):
                yield f"{source} includes {target}: {here}/ stands above " \
                      f"{there}/, and includes go down only"


def symbols(objects):
    """The folder that defines each of our names; what each object needs, as
    (name, folder, file)."""
    defined, needed = {}, []
    for path in sorted(objects.rglob("*.o")):
        folder = layer_of(path.relative_to(objects))
        if folder is None or path.name in OWN:
            continue
        out = subprocess.run(["nm", "-g", path], capture_output=True,
                             text=True, check=True).stdout
        for line in out.splitlines():
            kind, name = line.split()[-2:]
            if kind in "Uw":
                needed.append((name, folder, path.name))
            elif name.startswith("hak_"):
                defined[name] = folder
    return defined, needed


def family_calls(needed):
    for name, folder, file in needed:
        if name in FAMILY:
            yield f"{folder}/{file} calls {name}, which is the program's; " \
                  f"inner functions are in core/malloc/fast.h"


def circles(defined, needed):
    """A line for each pair of folders that need each other, by any way."""
    edges = {}
    for name, folder, file in needed:
        other = defined.get(name)
        if other is not None and other != folder:
            edges.setdefault(folder, {}).setdefault(other, (file, name))
    reach = {}
    for start in edges:
        seen, todo = set(), [start]
        while todo:
            for after in edges.get(todo.pop(), {}):
                if after not in seen:
                    seen.add(after)
                    todo.append(after)
        reach[start] = seen
    for folder, others in sorted(edges.items()):
        for other, (file, name) in sorted(others.items()):
            if folder in reach.get(other, ()) and \
                    ORDER.index(other) > ORDER.index(folder):
                yield f"{folder}/{file} needs {name} of {other}/, which " \
                      f"needs {folder}/ too: a circle"


def count(root):
    sums = dict.fromkeys(ORDER, 0)
    for source in sources(root):
        text = COMMENT.sub("", (root / source).read_text())
        lines = sum(1 for line in text.splitlines() if line.strip())
        sums[layer_of(source)] += lines
    return sums


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path,
                        default=pathlib.Path("framework"))
    parser.add_argument("--objects", type=pathlib.Path,
                        default=pathlib.Path("build/obj/framework"))
    parser.add_argument("--count", action="store_true")
    args = parser.parse_args()
    if args.count:
        sums = count(args.root)
        for name, lines in sums.items():
            print(f"{lines:6} {name}")
        core = sum(n for name, n in sums.items() if name.startswith("core/"))
        print(f"{core:6} core, all of it")
        return 0
    defined, needed = symbols(args.objects)
    bad = list(upward_includes(args.root)) + list(family_calls(needed)) + \
        list(circles(defined, needed))
    print("\n".join(bad) or f"{len(ORDER)} folders")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
