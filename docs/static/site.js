// What scrolls sideways can be reached by the keyboard.
function reachable() {
  for (const box of document.querySelectorAll(".table-wrapper, .math-block, .highlight pre, article p")) {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
    } else {
      box.removeAttribute("tabindex");
    }
  }
}
addEventListener("DOMContentLoaded", reachable);
addEventListener("resize", reachable);
