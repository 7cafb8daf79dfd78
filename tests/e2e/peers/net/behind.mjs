// The applications behind the gateway: a web site and a name server. Runs in the gateway's namespace.
//
//   node behind.mjs ADDRESS NAME=ADDRESS...
//
// On ADDRESS: HTTP on port 80, DNS on port 53 (UDP and TCP) for exactly the given names (type A; anything else is
// refused), and on port 7 what comes back as it was sent (UDP and TCP). One line of JSON on stdout says that all
// listen; one line per DNS query and HTTP request follows.
//   GET /          the first label of the first name, as in "wiki\n"
//   GET /from      the address and port that the request comes from
//   GET /bytes/N   N bytes whose content is a function of their place, so that a reader can check them
//   GET /drip      one line every 100 ms until the reader is gone
//   POST /echo     the body
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';

const [address, ...pairs] = process.argv.slice(2);
const names = new Map(pairs.map((pair) => pair.toLowerCase().split('=')));
const own = pairs[0].split('.')[0];
const note = (entry) => console.log(JSON.stringify(entry));

const BLOCK = Buffer.from(Array.from({ length: 65_536 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));

const web = createServer((request, response) => {
  note({ http: request.method, url: request.url, host: request.headers.host, from: request.socket.remoteAddress });
  const bytes = /^\/bytes\/(\d{1,12})$/.exec(request.url);
  if (bytes) {
    sendBytes(response, Number(bytes[1]));
  } else if (request.url === '/drip') {
    const drip = setInterval(() => response.write(`${Date.now()}\n`), 100);
    response.on('close', () => clearInterval(drip));
  } else if (request.url === '/echo') {
    request.pipe(response);
  } else if (request.url === '/from') {
    response.end(`${request.socket.remoteAddress} ${request.socket.remotePort}\n`);
  } else {
    response.end(`${own}\n`);
  }
});

function sendBytes(response, total) {
  response.setHeader('content-length', total);
  let sent = 0;
  const more = () => {
    while (sent < total) {
      const part = BLOCK.subarray(0, Math.min(BLOCK.length, total - sent));
      sent += part.length;
      if (!response.write(part)) return void response.once('drain', more);
    }
    response.end();
  };
  more();
}

const dns = createSocket('udp4');
dns.on('message', (query, from) => {
  const question = readQuestion(query);
  if (question) dns.send(answer(query, question), from.port, from.address);
});

// RFC 1035 section 4.2.2: two bytes of length before each message.
const dnsOverTcp = createTcpServer((socket) => {
  let received = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('data', (bytes) => {
    received = Buffer.concat([received, bytes]);
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      const query = received.subarray(2, 2 + received.readUInt16BE(0));
      received = received.subarray(2 + query.length);
      const question = readQuestion(query);
      if (!question) return void socket.destroy();
      const message = answer(query, question);
      const length = Buffer.alloc(2);
      length.writeUInt16BE(message.length);
      socket.write(Buffer.concat([length, message]));
    }
  });
});

const echoOverTcp = createTcpServer((socket) => {
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});
const echo = createSocket('udp4');
echo.on('message', (message, from) => echo.send(message, from.port, from.address));

// RFC 1035 section 4.1.2: labels, then type and class.
function readQuestion(query) {
  const labels = [];
  let at = 12;
  while (at < query.length && query[at] !== 0) {
    labels.push(query.subarray(at + 1, at + 1 + query[at]).toString('latin1'));
    at += 1 + query[at];
  }
  if (at + 5 > query.length) return undefined;
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function answer(query, { name, type, end }) {
  const target = names.get(name);
  note({ dns: name, type, answered: target !== undefined });
  const found = target !== undefined && type === 1;
  const head = Buffer.from(query.subarray(0, 12));
  head.writeUInt16BE(target === undefined ? 0x8585 : 0x8580, 2); // response, authoritative, recursion; REFUSED if unknown
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(found ? 1 : 0, 6);
  head.writeUInt32BE(0, 8);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...(target ?? '').split('.').map(Number)]);
  return Buffer.concat([head, query.subarray(12, end), ...(found ? [record] : [])]);
}

const listening = [
  new Promise((done) => web.listen(80, address, done)),
  new Promise((done) => dns.bind(53, address, done)),
  new Promise((done) => dnsOverTcp.listen(53, address, done)),
  new Promise((done) => echo.bind(7, address, done)),
  new Promise((done) => echoOverTcp.listen(7, address, done)),
];
Promise.all(listening).then(() => note({ ready: true, http: `${address}:80`, dns: `${address}:53`, echo: `${address}:7` }));
