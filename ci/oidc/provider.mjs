// A real OpenID provider for the tests: the certified `oidc-provider` on a free port of loopback.
//
// Whoever comes is signed in at once as the account that was last set, or by its form. It prints its address,
// then takes orders, a line of JSON each, on standard input, and answers each with a line:
//
//   {"account": {"sub": "1", "email": "a@b.example", "email_verified": true}}
//   {"rotate": true}     it signs with a new key, and publishes only that one
//   {"kid": "main"}      it calls each of its keys so from now on
//   {"form": true}       people say who they are in its own form, with any password: their address is
//                        the name that they give; then they agree to being told of
//   {"in_token": false}  the address is told by its `userinfo` alone
//   {"curve": "P-384"}   it signs with a key that few take
//   {"clock": -3600}     its answers say a time that is so many seconds off
//
// It ends with its standard input.

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// Standard output is for answers alone.
console.info = console.warn = console.error;

// The packages lie where `ci/deps.sh` installed them.
const installed = createRequire(`${process.argv[2]}/`);
const { default: Provider } = await import(pathToFileURL(installed.resolve('oidc-provider')));

let account = { sub: '1', email: 'alice@example.org', email_verified: true };
let inToken = true;
let form = false;
let kid;
let curve;
let clock = 0;
let handle;

const server = createServer((request, response) => handle(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  begin(issuer);
  console.log(issuer);
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      const order = JSON.parse(line);
      if (order.account) account = order.account;
      if ('kid' in order) kid = order.kid;
      if ('form' in order) form = order.form;
      if ('in_token' in order) inToken = order.in_token;
      if ('curve' in order) curve = order.curve;
      if ('clock' in order) clock = order.clock;
      begin(issuer);
      console.log('done');
    })
    .on('close', () => process.exit(0));
});

function key() {
  if (curve) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: curve });
    return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES384' };
  }
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = privateKey.export({ format: 'jwk' });
  return { ...jwk, use: 'sig', alg: 'RS256', kid: kid ?? randomBytes(8).toString('hex') };
}

// Each begin has a key of its own.
function begin(issuer) {
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'danube',
      client_secret: 'a secret: with/odd+signs&more',
      application_type: 'native',
      // At any port, as it is with native applications.
      redirect_uris: ['127.0.0.1', 'localhost'].map((host) => `http://${host}/login/oidc/callback`),
      response_types: ['code'],
      grant_types: ['authorization_code'],
      ...(curve && { id_token_signed_response_alg: 'ES384' }),
    }],
    ...(curve && { enabledJWA: { idTokenSigningAlgValues: ['ES384'] } }),
    jwks: { keys: [key()] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    pkce: { required: () => true, methods: ['S256'] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: !inToken,
    features: { devInteractions: { enabled: form } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => claims(sub) }),
  });
  const callback = provider.callback();
  handle = async (request, response) => {
    if (clock) response.setHeader('date', new Date(Date.now() + clock * 1000).toUTCString());
    if (form || !request.url.startsWith('/interaction/')) return callback(request, response);
    try {
      const { prompt, params, session } = await provider.interactionDetails(request, response);
      const result = prompt.name === 'login'
        ? { login: { accountId: account.sub } }
        : { consent: { grantId: await grant(provider, params, session) } };
      await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  };
}

const claims = (sub) => (form ? { sub, email: sub, email_verified: true } : { ...account, sub });

async function grant(provider, params, session) {
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return grant.save();
}
