// Keeps the page's files, so that it works offline: each is stored under its SHA-256, which
// `files.js` lists, and comes from the store ever after. A new version of the page has another
// `files.js`; of it only the files that differ are loaded again.
importScripts('files.js'); // self.FILES: by path, `sha256` and whether it is loaded `first`

const STORE = `albert_edge ${registration.scope}`;
const keyOf = (path) => `${registration.scope}${path}?${FILES[path].sha256}`;

addEventListener('install', (event) => {
  const first = Object.keys(FILES).filter((path) => FILES[path].first);
  event.waitUntil(Promise.all(first.map(stored)));
});

addEventListener('activate', (event) => {
  event.waitUntil(removeOlder().then(() => clients.claim()));
});

addEventListener('message', ({data}) => {
  if (data === 'take over') skipWaiting();
});

addEventListener('fetch', (event) => {
  const path = pathOf(event.request);
  if (path !== null) event.respondWith(stored(path));
});

/** Returns the path of a file of the page; null for anything else. */
function pathOf(request) {
  const {origin, pathname} = new URL(request.url);
  const address = origin + pathname;
  if (request.method !== 'GET' || !address.startsWith(registration.scope)) return null;
  const path = decodeURIComponent(address.slice(registration.scope.length)) || 'index.html';
  return Object.hasOwn(FILES, path) ? path : null;
}

/** Returns a file from the store, which gets it from the server if it does not have it. */
async function stored(path) {
  const store = await caches.open(STORE);
  const found = await store.match(keyOf(path));
  if (found !== undefined) return found;
  const address = registration.scope + path.split('/').map(encodeURIComponent).join('/');
  const response = await fetch(address, {cache: 'no-cache'});
  // The server may have a newer version of the page than this one: it is not kept under this key.
  if (response.ok && (await digest(response.clone())) === FILES[path].sha256) {
    await store.put(keyOf(path), response.clone());
  }
  return response;
}

async function digest(response) {
  const hash = await crypto.subtle.digest('SHA-256', await response.arrayBuffer());
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function removeOlder() {
  const store = await caches.open(STORE);
  const kept = new Set(Object.keys(FILES).map(keyOf));
  for (const {url} of await store.keys()) if (!kept.has(url)) await store.delete(url);
}
