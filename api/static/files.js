// Says before the upload which of the chosen files is too large. The server decides in any case.
"use strict";
(() => {
  const [field, said] = [document.getElementById("files"), document.getElementById("files-said")];
  if (!field || !said) return;
  field.addEventListener("change", () => {
    const large = [...field.files].filter((file) => file.size > Number(field.dataset.most));
    said.hidden = large.length === 0;
    said.textContent = large.map((file) => `${file.name} ${field.dataset.large}`).join(" ");
    if (large.length) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  });
})();
