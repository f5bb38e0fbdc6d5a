// Reports a page that cannot start. A classic script in ECMAScript 5, because the browser may be too old for modules.
// The page replaces the message as soon as it renders.
(function () {
  var TITLE = 'This browser is not supported';
  var TEXT = 'This browser version is too old. Use Chrome, Edge, Brave or Opera from 2023 or later, Firefox 113 or later, or Safari 16.4 or later.';

  /**
   * @param {string} title
   * @param {string} text
   */
  function say(title, text) {
    var app = document.getElementById('app');
    if (!app || app.firstElementChild) return;
    var main = document.createElement('main');
    main.className = 'end';
    main.setAttribute('data-testid', 'outdated');
    main.setAttribute('role', 'alert');
    var heading = document.createElement('h1');
    heading.appendChild(document.createTextNode(title));
    var words = document.createElement('p');
    words.className = 'lead';
    words.appendChild(document.createTextNode(text));
    main.appendChild(heading);
    main.appendChild(words);
    var entry = document.createElement('div');
    entry.className = 'entry';
    entry.appendChild(main);
    app.appendChild(entry);
  }

  /** @param {() => void} run */
  function whenParsed(run) {
    if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', run);
    else run();
  }

  function outdated() {
    say(TITLE, TEXT);
  }

  function incomplete() {
    say('The page did not load completely', 'Check your connection, then reload the page.');
  }

  window.addEventListener(
    'error',
    function (event) {
      // A script that failed to load, parse or run.
      if (event.target instanceof HTMLScriptElement) whenParsed(incomplete);
      else if (event.target === window) whenParsed(outdated);
    },
    true
  );
  if (!('noModule' in document.createElement('script'))) whenParsed(outdated);
})();
