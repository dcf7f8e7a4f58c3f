// GET /pixel?color=ff8800&size=16: an image, made on the spot.
//
// Bytes leave a function as base64 text with `is_base64`; the caller receives the bytes themselves.

const { crc32, deflateSync } = require("node:zlib");

function chunk(type, data) {
  const named = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, check]);
}

function png(size, color) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(size, 0);
  header.writeUInt32BE(size, 4);
  header.set([8, 2, 0, 0, 0], 8); // 8 bits a channel, RGB, no interlacing
  const row = Buffer.concat([Buffer.from([0]), ...Array(size).fill(color)]); // each row begins with its filter: none
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.concat(Array(size).fill(row)))),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

exports.handler = (event) => {
  const { color = "4f46e5", size = "1" } = event.query;
  if (!/^[0-9a-f]{6}$/i.test(color) || !(size >= 1 && size <= 512)) {
    return { status: 400, body: { error: "color is six hex digits, size is 1 to 512" } };
  }
  return {
    headers: { "content-type": "image/png", "cache-control": "public, max-age=3600" },
    is_base64: true,
    body_base64: png(Math.trunc(size), Buffer.from(color, "hex")).toString("base64"),
  };
};
