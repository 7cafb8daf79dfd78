// Signs a document anew, as whoever holds the key could.
//
//   node resign.mjs SEED_FILE JWS CLAIMS
//
// SEED_FILE holds the 32 bytes of an Ed25519 key; CLAIMS is a JSON object whose members replace those of the payload of
// JWS (compact serialisation). The result is printed.
import { createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';

const [file, jws, claims] = process.argv.slice(2);
// RFC 8410 section 7: the key in PKCS #8.
const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), readFileSync(file)]);
const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });

const [header, payload] = jws.split('.');
const document = { ...JSON.parse(Buffer.from(payload, 'base64url')), ...JSON.parse(claims) };
const signed = `${header}.${Buffer.from(JSON.stringify(document)).toString('base64url')}`;
console.log(`${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`);
