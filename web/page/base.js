/**
 * URLs below the server's base path: a reverse proxy may serve it below a prefix. This module's own address is
 * `<base>/static/page/base.js`.
 * @module
 */

export const base = new URL('../../', import.meta.url);

/**
 * @param {string} path without a leading slash
 * @returns {string}
 */
export const at = (path) => new URL(path, base).href;

/**
 * URL of a path given by the server. With the setting `http.base_path` it includes the prefix.
 * @param {string} path with a leading slash
 */
export const served = (path) => (path.startsWith(base.pathname) ? new URL(path, base).href : at(path.replace(/^\//, '')));

/**
 * The room in an address.
 * @param {'r' | 'watch'} kind
 * @param {string} [pathname]
 * @param {URL} [from]
 * @returns {string | null} empty: none; null: the name is not valid UTF-8, so the link is damaged
 */
export function roomIn(kind, pathname = location.pathname, from = base) {
  const rest = pathname.startsWith(from.pathname) ? pathname.slice(from.pathname.length) : '';
  const [first, name, ...more] = rest.replace(/\/$/, '').split('/');
  if (first !== kind || !name || more.length) return '';
  try {
    return decodeURIComponent(name);
  } catch {
    return null;
  }
}
