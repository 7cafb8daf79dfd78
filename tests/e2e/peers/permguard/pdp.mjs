// A decision point that speaks Permguard's protocol. It permits staff; what else it does, the request's resource says.
//
//   node pdp.mjs [--end-with-stdin]
//
// Prints {"pdp": URL} when it listens, and then each request as it was understood, as a line of JSON.
// A host named NUMBER.dev.corp.test is answered with that code in the message, as Permguard reports its own failures;
// grpc-NUMBER.dev.corp.test with that gRPC status; other names below `odd` in ways that contradict themselves.
import { createRequire } from 'node:module';
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const here = dirname(fileURLToPath(import.meta.url));
const definition = loader.loadSync(join(here, 'pdp.proto'), { keepCase: true, longs: String, oneofs: false });
const { policydecisionpoint } = grpc.loadPackageDefinition(definition);

// google.protobuf.Struct as the object that it stands for.
const struct = (value) => Object.fromEntries(Object.entries(value?.fields ?? {}).map(([k, v]) => [k, plain(v)]));
function plain(value) {
  if (value.structValue !== undefined) return struct(value.structValue);
  if (value.listValue !== undefined) return (value.listValue.values ?? []).map(plain);
  for (const kind of ['numberValue', 'stringValue', 'boolValue']) if (value[kind] !== undefined) return value[kind];
  return null;
}

// Permguard's checks, the first that fails is the answer.
function problem(request, subject) {
  const model = request.AuthorizationModel;
  if (!model || model.ZoneID === undefined || model.ZoneID === '0') return 'zone id';
  if ((model.PolicyStore?.Kind ?? '').toLowerCase() !== 'ledger' || !model.PolicyStore.ID) return 'policy store';
  if (!model.Principal?.ID || !model.Principal?.Type) return 'principal';
  if (!request.Subject?.ID || !request.Subject?.Type) return 'subject';
  if (!request.Resource?.ID || !request.Resource?.Type) return 'resource';
  if (!request.Action?.Name?.includes('::')) return 'action';
  if ('PERMGUARD' in subject) return 'subject properties';
  return null;
}

const reason = (code, admin, user) => ({
  ID: randomBytes(16).toString('hex'),
  ReasonAdmin: { Code: code, Message: admin },
  ReasonUser: { Code: code, Message: user },
});

function check(call, done) {
  const request = call.request;
  const subject = struct(request.Subject?.Properties);
  const resource = struct(request.Resource?.Properties);
  console.log(JSON.stringify({
    ...request,
    Subject: { ...request.Subject, Properties: subject },
    Resource: { ...request.Resource, Properties: resource },
    Action: { ...request.Action, Properties: struct(request.Action?.Properties) },
    Context: struct(request.Context),
    Metadata: call.metadata.getMap(),
  }));
  const answer = (decision, Context) => {
    const one = { Decision: decision, RequestID: request.RequestID, ...(Context ? { Context } : {}) };
    done(null, { ...one, Evaluations: [one] });
  };
  const name = String(resource.host ?? '').split('.')[0];
  const wrong = problem(request, subject);
  if (wrong) return answer(false, reason('400', `Bad Request: ${wrong}`, 'Bad Request'));
  if (/^\d{3}$/.test(name)) return answer(false, reason(name, `in-band ${name}`, `told ${name}`));
  if (/^grpc-\d+$/.test(name)) return done({ code: Number(name.slice(5)), details: 'as asked' });
  switch (name) {
    case 'never': return undefined;
    case 'odd-yes': return answer(true, reason('500', 'yes, but', 'yes, but'));
    case 'odd-parts': return done(null, { Decision: true, Evaluations: [{ Decision: false }] });
    case 'odd-two': return done(null, { Decision: true, Evaluations: [{ Decision: true }, { Decision: true }] });
    case 'odd-id': return done(null, { Decision: true, RequestID: 'another' });
    case 'odd-code': return answer(false, reason('teapot', 'short', 'stout'));
    case 'long': return answer(true, { ID: 'x'.repeat(100_000) });
    default: break;
  }
  const staff = (subject.groups ?? []).includes('staff');
  return staff ? answer(true) : answer(false, reason('403', 'not in staff', 'Staff only.'));
}

const server = new grpc.Server();
server.addService(policydecisionpoint.V1PDPService.service, { AuthorizationCheck: check });
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(JSON.stringify({ pdp: `http://127.0.0.1:${port}` }));
});
if (process.argv.includes('--end-with-stdin')) {
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
}
