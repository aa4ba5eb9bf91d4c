// SPDX-License-Identifier: Apache-2.0
// Shows /openapi.json, and sends requests. Everything is put into the page as text, never as markup.
"use strict";

function make(parent, name, text, className) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  parent.append(element);
  return element;
}

// What a $ref of this document points to.
function resolve(api, value) {
  while (value && value.$ref)
    value = value.$ref.slice(2).split("/").reduce((node, part) => node[part], api);
  return value;
}

function nameOf(schema) {
  return schema.$ref ? schema.$ref.split("/").pop() : "";
}

function kindOf(api, schema) {
  const it = resolve(api, schema) || {};
  if ("const" in it) return JSON.stringify(it.const);
  if (it.enum) return it.enum.map((word) => JSON.stringify(word)).join(" | ");
  if (it.anyOf) return it.anyOf.map((one) => nameOf(one) || kindOf(api, one)).join(" or ");
  return [].concat(it.type || "anything").join(" or ");
}

// What a value of this kind is held to.
function boundsOf(api, schema) {
  const it = resolve(api, schema) || {};
  const bounds = [];
  if ("maximum" in it) bounds.push(it.minimum + " to " + it.maximum);
  if ("maxLength" in it) bounds.push("at most " + it.maxLength + " characters");
  if ("default" in it) bounds.push("default " + JSON.stringify(it.default));
  return bounds.length ? " (" + bounds.join(", ") + ")" : "";
}

// All members of an object, those of what it is made from first.
function members(api, schema) {
  const it = resolve(api, schema) || {};
  const found = {};
  for (const part of it.allOf || []) Object.assign(found, members(api, part));
  for (const [name, value] of Object.entries(it.properties || {}))
    found[name] = { value, required: false };
  const required = [...(it.required || []), ...(it.allOf || []).flatMap((part) => (resolve(api, part) || {}).required || [])];
  for (const name of required) if (found[name]) found[name].required = true;
  return found;
}

function showSchema(api, parent, schema) {
  const it = resolve(api, schema) || {};
  if (it.description) make(parent, "p", it.description);
  for (const one of it.anyOf || []) showSchema(api, parent, one);
  const all = Object.entries(members(api, schema));
  if (!all.length) return;
  const table = make(parent, "table");
  for (const [name, { value, required }] of all) {
    const row = make(table, "tr");
    make(make(row, "td"), "code", required ? name : name + "?");
    make(make(row, "td"), "code", kindOf(api, value) + boundsOf(api, value));
    make(row, "td", (resolve(api, value) || {}).description || "");
    const inner = resolve(api, value);
    if (inner && inner.properties) showSchema(api, row.lastChild, value);
  }
}

function pretty(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function showContent(api, parent, content) {
  for (const [type, media] of Object.entries(content || {})) {
    if (type !== "application/json") make(parent, "p", type);
    for (const one of Object.values(media.examples || {})) {
      const example = resolve(api, one);
      make(parent, "p", "Example: " + example.summary);
      make(parent, "pre", pretty(example.value));
    }
    if (media.schema) showSchema(api, parent, media.schema);
  }
}

/* --- sending --- */

const element = (id) => document.getElementById(id);

// One request with the key of the form.  Gives what came: the status, the time that it took, the body as JSON or text.
async function send(api, method, path, body, headers) {
  const began = performance.now();
  const all = { ...headers };
  if (element("key").value) all[api.components.securitySchemes.key.name] = element("key").value;
  if (body !== undefined) all["content-type"] = "application/json";
  const reply = await fetch(path, { method, headers: all, body });
  const text = await reply.text();
  const ms = performance.now() - began;
  let json;
  try { json = JSON.parse(text); } catch { json = undefined; }
  return { status: reply.status, ok: reply.ok, ms, json, text };
}

function showPart(parent, title, text) {
  if (!text) return;
  make(parent, "h3", title);
  make(parent, "pre", text);
}

function showRaw(parent, got) {
  const raw = make(parent, "details");
  make(raw, "summary", "The whole reply");
  make(raw, "pre", got.json === undefined ? got.text : pretty(got.json));
}

// The reply of a program: what came of it, then what it returned and printed.
function showRun(parent, got) {
  const reply = got.json || {};
  const streams = reply.response || reply;
  make(parent, "p", got.status + " " + (reply.message || got.text) + " (" + got.ms.toFixed(1) + " ms here" +
    ("run_time" in reply ? ", " + (reply.run_time * 1000).toFixed(1) + " ms of it the program" : "") + ")",
    got.ok ? "verdict" : "verdict bad");
  if (streams && "result" in streams) showPart(parent, "result", pretty(streams.result));
  showPart(parent, "stdout" + (streams.stdout_truncated ? " (cut)" : ""), streams.stdout);
  showPart(parent, "stderr" + (streams.stderr_truncated ? " (cut)" : ""), streams.stderr);
  if (reply.error !== streams.stderr) showPart(parent, "error", reply.error);
  if (reply.reason) make(parent, "p", "reason: " + reply.reason + ", exit code: " + reply.exit_code);
  showRaw(parent, got);
}

// Only one answer is waited for at a time; what goes wrong on the way is shown too.
async function answer(button, parent, ask, show) {
  button.disabled = true;
  parent.replaceChildren();
  try {
    show(parent, await ask());
  } catch (error) {
    make(parent, "p", "There was no reply: " + error.message, "verdict bad");
  }
  button.disabled = false;
}

function prepareTrial(api) {
  const run = (event) => {
    event.preventDefault();
    if (element("run").disabled) return;
    const body = JSON.stringify({ code: element("code").value, timeout: Number(element("timeout").value) });
    const runtime = element("runtime").value.trim();
    const headers = runtime ? { "X-Runtime": runtime } : {};
    answer(element("run"), element("reply"), () => send(api, "POST", "/v1/code/execute/python", body, headers), showRun);
  };
  element("try").addEventListener("submit", run);
  element("code").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(event);
  });
}

// The path, the query and the headers that the inputs of an operation say.
function requestOf(path, inputs) {
  const query = new URLSearchParams(), headers = {};
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") path = path.replace("{" + parameter.name + "}", encodeURIComponent(input.value));
    else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
    else if (input.value) headers[parameter.name] = input.value;
  }
  return { target: path + (query.size ? "?" + query : ""), headers };
}

function labelled(parent, name, kind, id) {
  make(parent, "label", name).htmlFor = id;
  const input = make(parent, kind);
  input.id = id;
  input.spellcheck = false;
  return input;
}

function showSender(api, parent, path, method, operation, parameters) {
  const form = make(parent, "details");
  make(form, "summary", "Send one");
  const inputs = parameters.map((parameter) =>
    ({ parameter, input: labelled(form, parameter.name + " (" + parameter.in + ")", "input", operation.operationId + "-" + parameter.name) }));
  let body;
  if (operation.requestBody) {
    body = labelled(form, "Body", "textarea", operation.operationId + "-body");
    const [example] = Object.values(operation.requestBody.content["application/json"].examples);
    body.value = pretty(resolve(api, example).value);
    body.rows = body.value.split("\n").length;
  }
  const button = make(make(form, "p"), "button", "Send");
  button.type = "button";
  const reply = make(form, "section");
  button.addEventListener("click", () => answer(button, reply, () => {
    const { target, headers } = requestOf(path, inputs);
    return send(api, method.toUpperCase(), target, body && body.value, headers);
  }, (place, got) => {
    make(place, "p", got.status + " (" + got.ms.toFixed(1) + " ms)", got.ok ? "verdict" : "verdict bad");
    make(place, "pre", got.json === undefined ? got.text : pretty(got.json));
  }));
}

/* --- the operations --- */

function showParameters(api, parent, parameters) {
  if (!parameters.length) return;
  make(parent, "h3", "Parameters");
  const table = make(parent, "table");
  for (const one of parameters) {
    const row = make(table, "tr");
    make(make(row, "td"), "code", one.name + (one.required ? "" : "?"));
    make(row, "td", one.in);
    make(make(row, "td"), "code", kindOf(api, one.schema) + boundsOf(api, one.schema));
    make(row, "td", one.description || "");
  }
}

function showOperation(api, parent, path, method, operation) {
  const box = make(parent, "details");
  const head = make(box, "summary");
  make(head, "span", method.toUpperCase(), "method");
  make(head, "code", path, "path");
  make(head, "span", operation.summary);
  if (operation.security.length) make(head, "span", "needs the key", "key");
  const parameters = (operation.parameters || []).map((one) => resolve(api, one));
  showSender(api, box, path, method, operation, parameters);
  showParameters(api, box, parameters);
  if (operation.requestBody) {
    make(box, "h3", "Body");
    showContent(api, box, operation.requestBody.content);
  }
  make(box, "h3", "Replies");
  for (const [status, reply] of Object.entries(operation.responses)) {
    const one = make(box, "details");
    make(one, "summary", status + " " + reply.description);
    showContent(api, one, reply.content);
  }
}

// The operations of each tag; those of the last one are for machines, and folded away.
function showOperations(api, main) {
  for (const tag of api.tags) {
    const folded = tag === api.tags[api.tags.length - 1];
    const group = folded ? make(main, "details") : main;
    make(group, folded ? "summary" : "h2", tag.description);
    for (const [path, item] of Object.entries(api.paths))
      for (const [method, operation] of Object.entries(item))
        if (operation.tags.includes(tag.name)) showOperation(api, group, path, method, operation);
  }
}

// How the key is sent, and a request to begin with.
function showKey(api, parent) {
  const header = api.components.securitySchemes.key.name;
  make(parent, "h2", "From a terminal");
  make(parent, "pre", "curl -s " + location.origin + "/v1/code/execute/python \\\n    -H '" + header + ": YOUR-KEY' " +
    "-H 'content-type: application/json' \\\n    -d '{\"code\": \"return {\\\"answer\\\": 6 * 7}\"}'");
}

async function show() {
  const api = await (await fetch("/openapi.json")).json();
  element("about").prepend(api.info.description + " Version " + api.info.version + ". ");
  prepareTrial(api);
  showKey(api, element("operations"));
  showOperations(api, element("operations"));
}

show().catch((error) => make(element("operations"), "p", String(error)));
