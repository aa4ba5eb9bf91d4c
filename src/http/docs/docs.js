// SPDX-License-Identifier: Apache-2.0
// Shows /openapi.json. Everything is put into the page as text, never as markup.
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

function showContent(api, parent, content) {
  for (const [type, media] of Object.entries(content || {})) {
    if (type !== "application/json") make(parent, "p", type);
    if (media.schema) showSchema(api, parent, media.schema);
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
  if (parameters.length) {
    make(box, "h4", "Parameters");
    const table = make(box, "table");
    for (const one of parameters) {
      const row = make(table, "tr");
      make(make(row, "td"), "code", one.name + (one.required ? "" : "?"));
      make(row, "td", one.in);
      make(make(row, "td"), "code", kindOf(api, one.schema) + boundsOf(api, one.schema));
      make(row, "td", one.description || "");
    }
  }
  if (operation.requestBody) {
    make(box, "h4", "Body");
    showContent(api, box, operation.requestBody.content);
  }
  make(box, "h4", "Replies");
  for (const [status, reply] of Object.entries(operation.responses)) {
    const one = make(box, "details");
    make(one, "summary", status + " " + reply.description);
    showContent(api, one, reply.content);
  }
}

// How the key is sent, and a request to begin with.
function showKey(api, parent) {
  const header = api.components.securitySchemes.key.name;
  make(parent, "p", "The key goes into the header " + header + ". A body is JSON, and its content-type says so:");
  make(parent, "pre", "curl -s " + location.origin + "/v1/code/execute/python \\\n    -H '" + header + ": YOUR-KEY' " +
    "-H 'content-type: application/json' \\\n    -d '{\"code\": \"return {\\\"answer\\\": 6 * 7}\"}'");
}

async function show() {
  const api = await (await fetch("/openapi.json")).json();
  document.getElementById("about").prepend(api.info.description + " Version " + api.info.version + ". ");
  const main = document.getElementById("operations");
  showKey(api, main);
  for (const [path, item] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(item)) showOperation(api, main, path, method, operation);
}

show().catch((error) => make(document.getElementById("operations"), "p", String(error)));
