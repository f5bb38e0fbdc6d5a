// Reports a page that cannot start, as a classic script in ECMAScript 5: the browser may be too old for the modules.
// The page's own code takes over as soon as it has drawn something.
(function () {
  var TITLE = 'This browser cannot show the page';
  var TEXT = 'Its version is too old. Use Chrome, Edge, Brave or Opera from 2023 on, Firefox 113 or newer, or Safari 16.4 or newer.';

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
    var door = document.createElement('div');
    door.className = 'door';
    door.appendChild(main);
    app.appendChild(door);
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
    say('The page did not load completely', 'Check your connection, then load the page again.');
  }

  window.addEventListener(
    'error',
    function (event) {
      // A script that could not be fetched, or one that does not parse or run here.
      if (event.target instanceof HTMLScriptElement) whenParsed(incomplete);
      else if (event.target === window) whenParsed(outdated);
    },
    true
  );
  if (!('noModule' in document.createElement('script'))) whenParsed(outdated);
})();
