// SPDX-License-Identifier: MIT
// documents.js N - JSON made, parsed, searched; buffers beside it.
'use strict';
const n = Number(process.argv[2]);
let length = 0;
let found = 0;
for (let round = 0; round < 5; round++) {
    const tree = Array.from({ length: n }, (_, i) =>
        ({ id: i, text: 'x'.repeat(i % 100), list: [i, i * i, 'y' + i] }));
    const text = JSON.stringify(tree);
    const bytes = Buffer.from(text);
    length += bytes.length;
    found += JSON.parse(bytes.toString()).filter((e) => e.id % 7 === 0).length;
    const map = new Map();
    for (let i = 0; i < n; i++)
        map.set('key' + (i * 7919 % n), Buffer.alloc(i % 2000, i));
    for (const b of map.values())
        length += b.length;
}
console.log(length, found);
