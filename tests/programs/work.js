// SPDX-License-Identifier: MIT
// work.js N - strings, maps, buffers, zlib and worker threads in Node.
'use strict';
const { Worker, isMainThread, workerData, parentPort } =
    require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');

const sha = (x) =>
    crypto.createHash('sha256').update(x).digest('hex').slice(0, 16);

function churn(n, salt) {
    const map = new Map();
    for (let i = 0; i < n; i++) {
        map.set('key' + (i * 7919 % n), Buffer.alloc(i % 2000, i + salt));
        if (i % 3 === 0)
            map.delete('key' + i);
    }
    let bytes = 0;
    for (const b of map.values())
        bytes += b.length;
    return [map.size, bytes];
}

function main(n) {
    console.log(churn(n, 1));
    const tree = Array.from({ length: n }, (_, i) =>
        ({ id: i, text: 'x'.repeat(i % 100), list: [i, i * i, 'y' + i] }));
    const text = JSON.stringify(tree);
    console.log(text.length, sha(text), JSON.parse(text).length);
    const packed = zlib.deflateSync(text);
    console.log(packed.length, sha(zlib.inflateSync(packed)));
    console.log(sha(text.split('"').sort().join()));
    let left = 4;
    const results = [];
    for (let k = 0; k < 4; k++) {
        const w = new Worker(__filename, { workerData: { n, k } });
        w.on('message', (m) => { results[k] = m; });
        w.on('exit', () => {
            if (--left === 0) {
                console.log(JSON.stringify(results));
                process.exitCode = 6;
            }
        });
    }
}

if (isMainThread)
    main(Number(process.argv[2]));
else
    parentPort.postMessage(churn(workerData.n, workerData.k));
