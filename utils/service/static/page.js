"use strict";

const $ = (id) => document.getElementById(id);
const EXAMPLES = [
  "I went in expecting very little and came out grinning. The plot is thin, but the two leads are "
    + "so warm and funny together that I would happily watch them wait for a bus.",
  "Two hours of beautiful people staring out of windows. The script mistakes silence for depth, "
    + "the ending is an insult, and I have rarely been so glad to see the credits.",
  "The first half is a marvel: tense, clever and gorgeous to look at. Then somebody seems to have "
    + "lost the last pages of the script, and it falls apart in front of your eyes.",
];
const BATCH = { texts: 16, bytes: 48000 }; // of a request, below the service's limits
let key = "";
let turn = 0; // the latest review asked for: an earlier answer must not replace it

/**
 * Ask the service; where it is busy, wait as long as it says and ask again. `path` has no slash in
 * front: the page may stand below a prefix, such as that of a notebook server's proxy.
 */
async function ask(path, inputs, tries = 8) {
  if (/[^\x20-\x7e]/.test(key)) return askForKey(); // fetch would refuse to send it
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  const options = inputs === undefined
    ? { headers } : { method: "POST", headers, body: JSON.stringify({ inputs }) };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  if ((response.status === 429 || response.status === 503) && tries > 0) {
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    return ask(path, inputs, tries - 1);
  }
  if (response.status === 401) return askForKey();
  const answer = await response.json();
  if (!response.ok) {
    const reasons = Object.values(answer.detail?.json ?? {}).flat();
    throw Object.assign(new Error([answer.message, ...reasons].join(": ")), {
      status: response.status,
    });
  }
  return answer;
}

function askForKey() {
  $("key-form").hidden = false;
  $("key").focus();
  throw new Error(key ? "That key is not the right one." : "Give the key first.");
}

function complain(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

function show(answer) {
  const positive = answer.label === "POSITIVE";
  $("result").className = `card ${positive ? "positive" : "negative"}`;
  $("label").textContent = positive ? "Positive" : "Negative";
  $("score").textContent = `probability ${(100 * answer.score).toFixed(1)}%`;
  $("needle").style.left = `${100 * (positive ? answer.score : 1 - answer.score)}%`;
  $("cut").hidden = !answer.truncated;
  $("missed").textContent = `${(100 * answer.completeness_error).toFixed(1)}%`;
  const strongest = Math.max(...answer.words.map((word) => Math.abs(word.weight ?? 0)), 1e-9);
  $("words").replaceChildren(...answer.words.flatMap((word) => [mark(word, strongest), " "]));
  $("result").hidden = false;
  $("spoken").textContent = `${$("label").textContent}, ${$("score").textContent}. `
    + `Towards positive: ${three(answer.words, 1)}. Towards negative: ${three(answer.words, -1)}.`;
}

/** The three words that push hardest to one side, for who cannot see the colours. */
const three = (words, side) => words.filter((word) => side * (word.weight ?? 0) > 0)
  .sort((a, b) => side * (b.weight - a.weight)).slice(0, 3).map((word) => word.text).join(", ")
  || "none";

function mark({ text, weight }, strongest) {
  const span = document.createElement("span");
  span.textContent = text;
  span.className = "word";
  if (weight === null) {
    span.classList.add("left-out");
    return span;
  }
  const share = Math.abs(weight) / strongest;
  span.title = `${weight > 0 ? "+" : "−"}${Math.abs(weight).toFixed(2)}`;
  const side = weight > 0 ? "pro" : "con";
  span.style.backgroundColor = `rgb(var(--${side}-rgb) / ${(0.55 * share).toFixed(3)})`;
  if (share > 0.25) span.classList.add(side);
  return span;
}

$("review-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const mine = ++turn;
  $("problem").hidden = true;
  $("read").setAttribute("aria-disabled", "true");
  try {
    const answer = await ask("explain", $("review").value);
    if (mine === turn) show(answer);
  } catch (error) {
    if (mine === turn) {
      $("result").hidden = true;
      complain(error);
    }
  }
  if (mine === turn) $("read").removeAttribute("aria-disabled");
});

$("review").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("review-form").requestSubmit();
});

document.querySelectorAll("#examples button").forEach((button, number) => {
  button.addEventListener("click", () => {
    $("review").value = EXAMPLES[number];
    $("review-form").requestSubmit();
  });
});

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value;
  $("problem").hidden = true;
  introduce();
});

$("file").addEventListener("change", async () => {
  const file = $("file").files[0];
  $("problem").hidden = true;
  if (!file) return;
  $("file").disabled = true;
  try {
    const { text, unlabelled, total, stopped } = await labelled(await file.arrayBuffer());
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = file.name.replace(/(\.csv)?$/i, "-labelled.csv");
    link.textContent = `Download ${link.download}`;
    const none = unlabelled ? `, ${unlabelled} without a text that can be labelled` : "";
    $("file-state").replaceChildren(`${total} rows${none}. `, link);
    if (stopped) complain(new Error(`It ended early, the rest has no label. ${stopped.message}`));
  } catch (error) {
    $("file-state").textContent = "";
    complain(error);
  }
  $("file-progress").hidden = true;
  $("file").disabled = false;
  $("file").value = "";
});

/** The CSV with the three columns of scripts/model-inference.py; Excel's mark of UTF-8 stays. */
async function labelled(bytes) {
  let source;
  try {
    source = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("The file is not UTF-8: save it as “CSV UTF-8”.");
  }
  const [names, ...rows] = parse(source);
  if (!names) throw new Error("The file is empty.");
  const chosen = names.indexOf(names.includes("text") ? "text" : "review");
  if (chosen < 0) {
    throw new Error(`No column text or review, but: ${names.join(", ")}.${hint(names.join())}`);
  }
  const added = ["predicted_label", "score", "truncated"];
  const taken = added.find((name) => names.includes(name));
  if (taken) throw new Error(`The file has a column ${taken} already: rename it.`);
  const twice = names.find((name, place) => names.indexOf(name) < place);
  if (twice !== undefined) throw new Error(`The file has two columns ${twice}: rename one.`);
  const ragged = rows.findIndex((row) => row.length !== names.length);
  if (ragged >= 0) {
    throw new Error(`Row ${ragged + 1} has ${rows[ragged].length} fields, and the header `
      + `${names.length}: put quotes around texts with commas.`);
  }
  $("file-progress").hidden = false;
  $("file-state").textContent = "";

  const bytesOf = (text) => new TextEncoder().encode(JSON.stringify(text)).length;
  const readable = (text) => text.replace(/<br\s*\/?>/gi, " ").trim()
    && text.length <= 20000 && bytesOf(text) < 60000;
  const good = rows.filter((row) => readable(row[chosen]));
  const answers = new Map();
  let stopped;
  const label = async (batch) => {
    try {
      const found = await ask("predict", batch.map((row) => row[chosen]));
      batch.forEach((row, place) => answers.set(row, found[place][0]));
    } catch (error) { // one text may be the cause: what remains of it stays without a label
      if (![422, 504].includes(error.status)) throw error;
      const half = Math.floor(batch.length / 2);
      if (half) await label(batch.slice(0, half)).then(() => label(batch.slice(half)));
    }
  };
  for (let start = 0; start < good.length;) {
    const batch = [];
    let size = 0;
    while (start + batch.length < good.length && batch.length < BATCH.texts) {
      size += bytesOf(good[start + batch.length][chosen]);
      if (batch.length && size > BATCH.bytes) break;
      batch.push(good[start + batch.length]);
    }
    try {
      await label(batch);
    } catch (error) {
      if (!answers.size) throw error;
      stopped = error;
      break;
    }
    start += batch.length;
    $("file-progress").value = start / good.length;
  }
  const lines = rows.map((row) => {
    const answer = answers.get(row);
    if (!answer) return [...row, "", "", ""];
    return [...row, answer.label, answer.score, answer.truncated ? "True" : "False"];
  });
  const text = [[...names, ...added], ...lines].map((line) => line.map(quote).join(",")).join("\r\n");
  const mark = new Uint8Array(bytes, 0, Math.min(3, bytes.byteLength)).join() === "239,187,191";
  const unlabelled = rows.length - answers.size;
  return { text: `${mark ? "\uFEFF" : ""}${text}\r\n`, total: rows.length, unlabelled, stopped };
}

const quote = (value) =>
  /[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value);

/** A question, where a header without commas holds another separator. */
function hint(header) {
  const other = header.includes(",") ? null : header.match(/[;\t|]/)?.[0];
  return other
    ? ` Is it separated by ${other === "\t" ? "tabs" : `'${other}'`}? Save it with commas.` : "";
}

/** The rows of a CSV (RFC 4180): quoted fields may hold commas, line breaks and doubled quotes. */
function parse(source) {
  const rows = [];
  let row = [];
  const field = /("(?:[^"]|"")*"|[^",\r\n][^,\r\n]*|)(,|\r\n|\n|\r|$)/y;
  while (field.lastIndex < source.length) {
    const at = field.lastIndex;
    const match = field.exec(source);
    if (!match) {
      throw new Error(`The CSV is broken near character ${at}, row ${rows.length + 1}.`
        + (rows.length ? "" : hint(source.split(/[\r\n]/, 1)[0])));
    }
    const [, value, end] = match;
    row.push(value.startsWith('"') ? value.slice(1, -1).replaceAll('""', '"') : value);
    if (end !== ",") {
      if (row.length > 1 || value) rows.push(row); // a blank line is no row, but "" is
      row = [];
    } else if (field.lastIndex === source.length) {
      rows.push([...row, ""]);
    }
  }
  return rows;
}

async function introduce() {
  try {
    const info = await ask("info");
    const data = info.trained_on ? `, trained on ${info.trained_on}` : "";
    $("about").textContent = `${info.model}${data}; model ${info.model_sha256.slice(0, 8)}, `
      + info.precision;
    $("key-form").hidden = true;
  } catch (error) {
    if (key) complain(error);
  }
}
introduce();
