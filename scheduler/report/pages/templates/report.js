// Makes a report's pages move: theme, tables that sort, clips that play. Everything can be read without it.
(function () {
  "use strict";
  var FRAMES_PER_SECOND = 4;
  var KEY = "flowcert-theme";
  var THEMES = ["auto", "light", "dark"];
  var root = document.documentElement;

  // A page opened from a file may have no storage; the theme then lasts as long as the page.
  function recall() {
    try { return localStorage.getItem(KEY); } catch (error) { return null; }
  }
  function keep(theme) {
    try { localStorage.setItem(KEY, theme); } catch (error) { /* nothing to keep it in */ }
  }
  function paint(theme) {
    if (theme === "auto") { root.removeAttribute("data-theme"); } else { root.setAttribute("data-theme", theme); }
  }
  var theme = THEMES.indexOf(recall()) > 0 ? recall() : "auto";
  paint(theme);

  function startTheme(button) {
    function say() { button.textContent = "Theme: " + theme; }
    button.hidden = false;
    say();
    button.addEventListener("click", function () {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      paint(theme);
      keep(theme);
      say();
    });
  }

  function startTable(table) {
    var headings = Array.prototype.slice.call(table.tHead.rows[0].cells);
    var body = table.tBodies[0];
    function value(row, place, kind) {
      var cell = row.cells[place];
      if (kind !== "number") { return cell.textContent.trim(); }
      return cell.dataset.key === "" ? null : Number(cell.dataset.key);
    }
    headings.forEach(function (heading, place) {
      var button = heading.querySelector("button");
      if (!button) { return; }
      button.addEventListener("click", function () {
        var falls = heading.getAttribute("aria-sort") === "ascending";
        headings.forEach(function (other) { other.removeAttribute("aria-sort"); });
        heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
        var rows = Array.prototype.slice.call(body.rows).map(function (row) {
          return { row: row, value: value(row, place, heading.dataset.kind), whole: row.classList.contains("whole") };
        });
        rows.sort(function (a, b) {
          // The row of all classes stays first, and what is not known last, whatever the order.
          if (a.whole !== b.whole) { return a.whole ? -1 : 1; }
          if (a.value === null || b.value === null) { return (a.value === null) - (b.value === null); }
          var order = typeof a.value === "string" ? a.value.localeCompare(b.value) : a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
          return falls ? -order : order;
        });
        rows.forEach(function (entry) { body.appendChild(entry.row); });
      });
    });
  }

  function startPlayer(player) {
    var frames = Number(player.dataset.frames);
    var frame = Number(player.dataset.start);
    var sprites = Array.prototype.slice.call(player.querySelectorAll(".sprite"));
    var controls = player.querySelector(".controls");
    var marks = player.querySelectorAll(".frames i");
    var moving = sprites.some(function (sprite) { return Number(sprite.dataset.tiles) > 1; });
    if (!controls || !moving) { return; }
    var button = controls.querySelector("button"), slider = controls.querySelector("input"), said = controls.querySelector("output");
    var timer = null;
    function show() {
      sprites.forEach(function (sprite) {
        var tiles = Number(sprite.dataset.tiles), columns = Number(sprite.dataset.columns), rows = Number(sprite.dataset.rows);
        var tile = tiles > 1 ? frame - 1 : 0;
        var x = -100 * (tile % columns) / columns, y = -100 * Math.floor(tile / columns) / rows;
        sprite.firstElementChild.style.transform = "translate(" + x + "%," + y + "%)";
      });
      slider.value = frame;
      said.textContent = frame + " of " + frames;
      Array.prototype.forEach.call(marks, function (mark, number) { mark.classList.toggle("now", number === frame - 1); });
    }
    function play(on) {
      if (timer !== null) { clearInterval(timer); timer = null; }
      if (on) { timer = setInterval(function () { frame = frame % frames + 1; show(); }, 1000 / FRAMES_PER_SECOND); }
      button.textContent = on ? "Pause" : "Play";
    }
    controls.hidden = false;
    button.addEventListener("click", function () { play(timer === null); });
    slider.addEventListener("input", function () { play(false); frame = Number(slider.value); show(); });
    show();
    play(!window.matchMedia("(prefers-reduced-motion: reduce)").matches);
    // On paper a clip stands at its first change.
    window.addEventListener("beforeprint", function () { play(false); frame = Number(player.dataset.start); show(); });
  }

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("button.theme").forEach(startTheme);
    document.querySelectorAll("table.sortable").forEach(startTable);
    document.querySelectorAll(".player").forEach(startPlayer);
  });
})();
