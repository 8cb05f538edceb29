// Reads {presentation, key, required} (an SD-JWT, a public JWK, the claims that must be disclosed)
// from standard input, verifies them with @sd-jwt/core and Node's own Ed25519, and prints the
// claims, or exits with 1 and the reason.
import { createHash, createPublicKey, verify } from 'node:crypto';
import { SDJwtInstance } from '@sd-jwt/core';

const { presentation, key, required } = JSON.parse(await new Response(process.stdin).text());
const publicKey = createPublicKey({ key, format: 'jwk' });
const instance = new SDJwtInstance({
  hasher: (data, algorithm) =>
    new Uint8Array(createHash(algorithm.replace('-', '')).update(data).digest()),
  hashAlg: 'sha-256',
  verifier: (data, signature) =>
    verify(null, Buffer.from(data), publicKey, Buffer.from(signature, 'base64url')),
});
try {
  const { payload, header } = await instance.verify(presentation, { requiredClaimKeys: required });
  const claims = await instance.getClaims(presentation);
  process.stdout.write(JSON.stringify({ alg: header.alg, claims: claims ?? payload }));
} catch (error) {
  process.stdout.write(String(error.message ?? error));
  process.exit(1);
}
