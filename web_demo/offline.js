import {byId} from './dom.js';

const CONTROL_MS = 10_000; // for the page's own files, of 0.3 MB

/**
 * Registers the service worker, by which the page works offline, and waits until it keeps what the
 * page loads. Where the browser has none, as on a page that comes neither by https nor from
 * localhost, the page works without.
 */
export async function workOffline() {
  const workers = navigator.serviceWorker;
  if (workers === undefined) return say('This page works online only.');
  try {
    const registration = await workers.register('service_worker.js', {updateViaCache: 'none'});
    offerUpdates(registration);
    // A page that was loaded past the service worker, by Shift and Reload, stays without it.
    if (workers.controller === null && registration.active === null) await controlled(workers);
    return say('This page works offline: the browser keeps its files.');
  } catch (error) {
    return say(`This page works online only: ${error.message}`);
  }
}

function say(text) {
  byId('offline-line').textContent = text;
}

function controlled(workers) {
  return new Promise((resolve, reject) => {
    workers.addEventListener('controllerchange', resolve, {once: true});
    setTimeout(() => reject(new Error('its files could not be stored.')), CONTROL_MS);
  });
}

/** Shows a button when a new version of the page waits for the old one to close. */
function offerUpdates(registration) {
  const offer = () => {
    if (registration.waiting === null || navigator.serviceWorker.controller === null) return;
    byId('update').hidden = false;
  };
  offer();
  registration.addEventListener('updatefound', () => {
    registration.installing?.addEventListener('statechange', offer);
  });
  byId('update').addEventListener('click', () => {
    navigator.serviceWorker.addEventListener('controllerchange', () => location.reload());
    registration.waiting?.postMessage('take over');
  });
}
