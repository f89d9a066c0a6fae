// The main job through the official package for Node; prints what it saw as JSON.
//
//     node main_job.mjs READY_FILE azure|openai

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { AzureOpenAI, NotFoundError, OpenAI, toFile } from "openai";

const CHAT = "smollm2-135m-instruct";
const EMBEDDING = "all-minilm-l6-v2";
const MESSAGES = [{ role: "user", content: "What is the capital of France?" }];
const OVER = ["completed", "failed", "expired", "cancelled"];

const [readyFile, variant] = process.argv.slice(2);
const server = JSON.parse(readFileSync(readyFile, "utf8"));
const azure = { endpoint: server.endpoint, apiKey: server.api_key, apiVersion: server.api_version };
const client =
  variant === "azure"
    ? new AzureOpenAI(azure)
    : new OpenAI({ baseURL: `${server.endpoint}/openai/v1/`, apiKey: server.api_key });

async function idsOf(pages) {
  const ids = [];
  for await (const one of pages) ids.push(one.id);
  return ids;
}

async function sameOrder(pages, made) {
  const listed = await idsOf(pages);
  const newest = made.map((one) => one.id).reverse();
  return newest.every((id, at) => id === listed[at]) && new Set(listed).size === listed.length;
}

async function upload(name, text, purpose) {
  return client.files.create({ file: await toFile(Buffer.from(text), name), purpose });
}

async function files() {
  const made = [];
  for (const name of ["a.txt", "b.txt", "c.txt"]) made.push(await upload(name, "text", "assistants"));
  const file = await client.files.waitForProcessing(made[0].id, { pollInterval: 50 });
  return {
    "waited for": file.status,
    content: await (await client.files.content(file.id)).text(),
    "newest first": await sameOrder(client.files.list({ purpose: "assistants", limit: 2 }), made),
    deleted: (await client.files.delete(file.id)).deleted,
  };
}

async function uploadInParts() {
  const asked = { bytes: 10, filename: "ten.txt", mime_type: "text/plain", purpose: "assistants" };
  const { id } = await client.uploads.create(asked);
  const parts = await Promise.all(
    ["hello", "world"].map(async (text) =>
      client.uploads.parts.create(id, { data: await toFile(Buffer.from(text), "part") }),
    ),
  );
  const { status, file } = await client.uploads.complete(id, { part_ids: parts.map((part) => part.id) });
  return { status, content: await (await client.files.content(file.id)).text() };
}

async function batch() {
  const body = { model: CHAT, messages: MESSAGES, max_tokens: 4 };
  const line = { custom_id: "one", method: "POST", url: "/v1/chat/completions", body };
  const { id } = await upload("in.jsonl", JSON.stringify(line), "batch");
  const made = [];
  for (let count = 0; count < 3; count += 1) {
    const asked = { input_file_id: id, endpoint: "/v1/chat/completions", completion_window: "24h" };
    made.push(await client.batches.create(asked));
  }
  let one = made[0];
  while (!OVER.includes(one.status)) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    one = await client.batches.retrieve(one.id);
  }
  const answer = JSON.parse(await (await client.files.content(one.output_file_id)).text());
  return {
    status: one.status,
    answered: answer.custom_id,
    "newest first": await sameOrder(client.batches.list({ limit: 1 }), made),
  };
}

async function inference() {
  const asked = { model: CHAT, messages: MESSAGES, temperature: 0, max_tokens: 8 };
  let streamed = "";
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
    streamed += chunk.choices[0]?.delta?.content ?? "";
  }
  const { choices } = await client.chat.completions.create(asked);
  const { data } = await client.embeddings.create({ model: EMBEDDING, input: "a cat" });
  const models = await idsOf(client.models.list());
  return { chat: choices[0].message.content, streamed, embedding: data[0].embedding.length, models };
}

async function stored() {
  const run = crypto.randomUUID();
  const chats = client.chat.completions;
  const asked = { model: CHAT, messages: MESSAGES, max_tokens: 4, store: true, metadata: { run } };
  const first = (await chats.create(asked)).id;
  let second;
  for await (const chunk of await chats.create({ ...asked, stream: true })) second = chunk.id;
  const paged = await idsOf(chats.list({ metadata: { run }, order: "asc", limit: 1 }));
  const changed = await chats.update(first, { metadata: { kind: "read" } });
  const found = await idsOf(chats.list({ metadata: { run, kind: "read" } }));
  const ofModel = await idsOf(chats.list({ model: changed.model, metadata: { run } }));
  const underDeployment = new AzureOpenAI({ ...azure, deployment: CHAT }).chat.completions;
  const ofDeployment = await idsOf(underDeployment.list({ metadata: { run } }));
  const read = (await chats.retrieve(first)).id === first;
  const messages = [];
  for await (const message of chats.messages.list(first)) messages.push(message.content);
  const deleted = [(await chats.delete(first)).deleted, (await chats.delete(second)).deleted];
  const gone = await chats.retrieve(first).catch((error) => error instanceof NotFoundError);
  return {
    paged: isDeepStrictEqual(paged, [first, second]),
    changed: isDeepStrictEqual(changed.metadata, { run, kind: "read" }),
    "found by metadata": isDeepStrictEqual(found, [first]),
    "found by model": isDeepStrictEqual(ofModel, [second, first]),
    "found by a client of the deployment": isDeepStrictEqual(ofDeployment, [second, first]),
    read,
    messages,
    deleted: deleted.every(Boolean),
    gone: gone === true,
    left: (await idsOf(chats.list({ metadata: { run } }))).length,
  };
}

async function refusals() {
  try {
    await client.files.retrieve("file-nobody");
  } catch (error) {
    return { "not found": error instanceof NotFoundError, request_id: Boolean(error.requestID) };
  }
  throw new Error("It was found.");
}

const seen = {
  files: await files(),
  upload: await uploadInParts(),
  batch: await batch(),
  inference: await inference(),
  stored: await stored(),
  refusals: await refusals(),
};
console.log(JSON.stringify(seen));
