// SPDX-License-Identifier: MIT
// Buffers of many sizes that come and go, text that is compressed and parsed: native memory of a node program.
'use strict';
const zlib = require('zlib');

const kept = new Array(2000);
let state = 1, sum = 0;

function random(n) {
	state = (state * 1103515245 + 12345) % 2147483648;
	return Math.floor(state / 2147483648 * n);
}

for (let i = 0; i < 60000; i++) {
	const b = Buffer.allocUnsafeSlow(64 + random(i % 50 === 0 ? 60000 : 2000));
	b[0] = i & 255;
	b[b.length - 1] = 1;
	kept[random(kept.length)] = b;
}
for (let i = 0; i < 150; i++) {
	const text = JSON.stringify(Array.from({ length: 300 }, (_, k) => ({ key: k * i, name: 'row ' + k })));
	const packed = zlib.deflateSync(text);
	sum += JSON.parse(zlib.inflateSync(packed).toString()).length + packed.length;
}
for (const b of kept)
	sum += b === undefined ? 0 : b[b.length - 1];
console.log(sum);
