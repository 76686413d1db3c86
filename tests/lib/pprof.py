#!/usr/bin/env python3
"""pprof.py - reads and checks a heap profile (profile.proto, gzip).

usage: pprof.py FILE            print it as text, one line for each fact
       pprof.py FILE TYPE       print the sum of one sample type

It is a reader of its own, so that tests do not trust what wrote the file. Every
file is checked: strings, mappings and locations that are named are there, and
addresses lie in their mappings.

The text has lines

    comment KEY=VALUE
    sample thread=NAME box=NAME bytes=N [lifetime=NAME] TYPE=VALUE... \
stack=FILE+OFFSET,...
    mapping ID START-LIMIT OFFSET NAME BUILD-ID

with the values that are not 0, and for each frame the name of its mapping and
the address in it.
"""
import gzip
import os
import sys

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class Broken(Exception):
    """The file is no profile."""


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Broken(f"a number is cut off at {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """The fields of a message: number, value."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == VARINT:
            value, at = varint(data, at)
        elif key & 7 == LENGTH:
            size, at = varint(data, at)
            value = data[at:at + size]
            if len(value) != size:
                raise Broken(f"field {key >> 3} is cut off at {at}")
            at += size
        else:
            raise Broken(f"field {key >> 3} has wire type {key & 7}")
        yield key >> 3, value


def packed(data):
    at, values = 0, []
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return values


class Profile:
    def __init__(self, path):
        with gzip.open(path) as file:
            self.data = file.read()
        self.strings, self.types, self.samples = [], [], []
        self.mappings, self.locations, self.comments = {}, {}, []
        self.numbers = {}
        raw = list(fields(self.data))
        for number, value in raw:
            if number == 6:
                self.strings.append(value.decode())
        if not self.strings or self.strings[0] != "":
            raise Broken("the first string is not empty")
        for number, value in raw:
            self.take(number, value)
        self.check()

    def text(self, number):
        if number >= len(self.strings):
            raise Broken(f"there is no string {number}")
        return self.strings[number]

    def take(self, number, value):
        if number == 1:
            self.types.append(self.value_type(value))
        elif number == 2:
            self.samples.append(self.sample(value))
        elif number == 3:
            mapping = dict(fields(value))
            self.mappings[mapping[1]] = {
                "start": mapping.get(2, 0), "limit": mapping.get(3, 0),
                "offset": mapping.get(4, 0),
                "name": self.text(mapping.get(5, 0)),
                "id": self.text(mapping.get(6, 0))}
        elif number == 4:
            location = dict(fields(value))
            self.locations[location[1]] = (location.get(2, 0),
                                           location.get(3, 0))
        elif number == 11:
            self.period_type = self.value_type(value)
        elif number == 13:
            self.comments.append(self.text(value))
        elif number in (9, 10, 12, 14):
            self.numbers[number] = value
        elif number != 6:
            raise Broken(f"unknown field {number}")

    def value_type(self, data):
        found = dict(fields(data))
        return self.text(found.get(1, 0)), self.text(found.get(2, 0))

    def sample(self, data):
        stack, values, labels = [], [], {}
        for number, value in fields(data):
            if number == 1:
                stack += packed(value)
            elif number == 2:
                values += packed(value)
            elif number == 3:
                label = dict(fields(value))
                labels[self.text(label[1])] = \
                    self.text(label[2]) if 2 in label else label.get(3, 0)
        return stack, values, labels

    def check(self):
        for stack, values, labels in self.samples:
            if len(values) != len(self.types):
                raise Broken(f"{len(values)} values, {len(self.types)} types")
            for key in ("thread", "box", "bytes"):
                if key not in labels:
                    raise Broken(f"a sample without label {key}")
            if "lifetime" in labels and any(values[:-1]):
                raise Broken("a sample of a lifetime has other values")
            for location in stack:
                if location not in self.locations:
                    raise Broken(f"there is no location {location}")
        for mapping, address in self.locations.values():
            if mapping not in self.mappings:
                raise Broken(f"there is no mapping {mapping}")
            there = self.mappings[mapping]
            if there["limit"] != 0 and \
                    not there["start"] <= address < there["limit"]:
                raise Broken(f"{address:#x} is not in {there['name']}")
        self.names = [name for name, unit in self.types]
        if self.text(self.numbers[14]) not in self.names:
            raise Broken("the default type is none of the types")

    def comment(self, key):
        for text in self.comments:
            if text.startswith(key + "="):
                return text[len(key) + 1:]
        return None

    def total(self, name):
        at = self.names.index(name)
        return sum(values[at] for _, values, _ in self.samples)

    def frame(self, location):
        mapping, address = self.locations[location]
        there = self.mappings[mapping]
        name = os.path.basename(there["name"])
        return f"{name}+{address - there['start'] + there['offset']:#x}"

    def lines(self):
        for text in self.comments:
            yield "comment " + text
        for stack, values, labels in self.samples:
            known = " ".join(f"{key}={labels[key]}" for key in
                             ("thread", "box", "bytes", "lifetime")
                             if key in labels)
            counted = " ".join(f"{name}={value}" for name, value in
                               zip(self.names, values) if value != 0)
            frames = ",".join(self.frame(location) for location in stack)
            yield f"sample {known} {counted} stack={frames}"
        for number, there in sorted(self.mappings.items()):
            yield (f"mapping {number} {there['start']:#x}-{there['limit']:#x} "
                   f"{there['offset']:#x} {there['name']} {there['id']}")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        profile = Profile(sys.argv[1])
        if len(sys.argv) == 3:
            print(profile.total(sys.argv[2]))
        else:
            for line in profile.lines():
                print(line)
    except (Broken, OSError, EOFError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")


if __name__ == "__main__":
    main()
