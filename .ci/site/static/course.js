// Whatever scrolls inside a page can be reached and scrolled with the keyboard too.
function reach() {
  for (const node of document.querySelectorAll("pre, .table-wrapper, .math-block")) {
    if (node.scrollWidth > node.clientWidth || node.scrollHeight > node.clientHeight) node.tabIndex = 0;
    else node.removeAttribute("tabindex");
  }
}
addEventListener("load", reach);
addEventListener("resize", reach);
