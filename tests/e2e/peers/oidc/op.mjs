// An OpenID provider on loopback: npm's oidc-provider with the one client the connector is.
//
//   node op.mjs [--port N] [--client-id ID] [--access-token-ttl SECONDS] [--id-token-ttl SECONDS] [--end-with-stdin]
//
// Port 0 (the default) takes a free port. One line of JSON on stdout says that it is ready and where it listens.
// Sign-in is oidc-provider's own development form: any password; the login name is the subject. `alice` is in the
// group `staff`, `bob` in `guests`, anybody else in none.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import { Provider } from 'oidc-provider';

const { values: options } = parseArgs({
  options: {
    'access-token-ttl': { type: 'string', default: '300' },
    'client-id': { type: 'string', default: 'ztna-connector' },
    'end-with-stdin': { type: 'boolean', default: false },
    'id-token-ttl': { type: 'string', default: '300' },
    port: { type: 'string', default: '0' },
  },
});

const GROUPS = { alice: ['staff'], bob: ['guests'] };

const server = createServer();
server.listen(Number(options.port), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration());
  for (const event of ['server_error', 'authorization.error', 'grant.error', 'pushed_authorization_request.error']) {
    provider.on(event, (_context, error) => console.error(event, error.message, error.error_description ?? ''));
  }
  server.on('request', provider.callback());
  console.log(JSON.stringify({ ready: true, issuer, client_id: options['client-id'], pid: process.pid }));
});

if (options['end-with-stdin']) {
  process.stdin.resume().on('end', () => process.exit(0));
}

function configuration() {
  return {
    clients: [
      {
        client_id: options['client-id'],
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        // RFC 8252 section 7.3: on loopback the port is the client's choice.
        redirect_uris: ['http://127.0.0.1/callback'],
        grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
        response_types: ['code'],
        scope: 'openid offline_access email profile groups',
      },
    ],
    scopes: ['openid', 'offline_access', 'email', 'profile', 'groups'],
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'preferred_username'],
      groups: ['groups'],
    },
    // Claims of the granted scopes are in the ID token itself: the connector asks no userinfo endpoint.
    conformIdTokenClaims: false,
    findAccount: (_context, id) => ({ accountId: id, claims: () => claims(id) }),
    pkce: { required: () => true },
    responseTypes: ['code'],
    rotateRefreshToken: true,
    ttl: {
      AccessToken: Number(options['access-token-ttl']),
      AuthorizationCode: 60,
      DeviceCode: 600,
      Grant: 86_400,
      IdToken: Number(options['id-token-ttl']),
      Interaction: 3600,
      RefreshToken: 86_400,
      Session: 86_400,
    },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      dPoP: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
      revocation: { enabled: true },
      rpInitiatedLogout: { enabled: true },
    },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    jwks: { keys: [signingKey('rsa', { modulusLength: 2048 }, 'RS256'), signingKey('ec', { namedCurve: 'P-256' }, 'ES256')] },
  };
}

function claims(id) {
  return {
    sub: id,
    email: `${id}@corp.example`,
    email_verified: true,
    name: id,
    preferred_username: id,
    groups: GROUPS[id] ?? [],
  };
}

function signingKey(type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${randomBytes(4).toString('hex')}` };
}
