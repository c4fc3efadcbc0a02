"use strict";
// Chooses judgments, and shows both answers beside a judgment when it is opened.
(() => {
  const form = document.getElementById("filter");
  const chosen = (id) => document.getElementById(id).value;
  const questions = [...document.querySelectorAll("details.question")].map((node) => ({
    node,
    category: node.dataset.c,
    meetings: [...node.querySelectorAll("details.meeting")].map((meeting) => ({
      node: meeting,
      models: meeting.dataset.m.split(" "),
      outcomes: meeting.dataset.o.split(" "),
    })),
  }));

  const fits = (meeting, model, outcome) => {
    if (outcome !== "won" && outcome !== "lost") {
      return outcome === "" || meeting.outcomes.includes(outcome);
    }
    const letter = outcome === "won" ? "w" : "l";
    return meeting.outcomes.some((one) => (model === "" ? /^[wl]\d/.test(one) : one === letter + model));
  };

  const apply = () => {
    const [model, other, category, outcome] = ["model", "other", "category", "outcome"].map(chosen);
    let shown = 0;
    for (const question of questions) {
      let any = false;
      for (const meeting of question.meetings) {
        const show =
          (category === "" || question.category === category) &&
          [model, other].every((one) => one === "" || meeting.models.includes(one)) &&
          fits(meeting, model, outcome);
        meeting.node.hidden = !show;
        any ||= show;
        shown += show ? 1 : 0;
      }
      question.node.hidden = !any;
    }
    document.getElementById("count").textContent = `${shown} shown`;
  };

  const sideBySide = (meeting) => {
    const both = meeting.querySelector(".both");
    if (!both || both.classList.contains("side")) return;
    both.classList.add("side");
    const { m: models, q: question, t: turns } = meeting.dataset;
    for (const model of models.split(" ")) {
      const answer = document.getElementById(`q${question}m${model}`);
      if (!answer) continue;
      const column = document.createElement("div");
      const name = document.createElement("p");
      name.className = "name";
      name.textContent = answer.closest("details").querySelector("summary").textContent;
      const texts = [...answer.querySelectorAll(".text")].slice(0, Number(turns));
      column.append(name, ...texts.map((text) => text.cloneNode(true)));
      both.append(column);
    }
  };

  document.addEventListener(
    "toggle",
    (event) => {
      if (event.target.open && event.target.matches("details.meeting")) sideBySide(event.target);
    },
    true,
  );
  form.addEventListener("change", apply);
  form.hidden = false;
  apply();
})();
